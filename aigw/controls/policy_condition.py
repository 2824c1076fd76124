"""
When a policy holds: a condition in CEL, compiled when it is written.

The library cannot be told to stop, so what a condition may hold is bounded before it is ever evaluated: no functions
but those below (no regular expressions, which would be compiled anew each time; no `+`, which makes values grow), one
`exists` or `all` whose body knows the element only, and a bound on the length of what it goes through. What is allowed
takes a few milliseconds at the worst, once for each caller and metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from aigw.errors import AigwError
from aigw.values.policy import CONDITION_CHARS

if TYPE_CHECKING:
    from cel import Context, Program

# A condition that goes through a list, with everything beside that.
LOOP_CHARS = 500
# Values of an identity in all, those within lists and tables included.
IDENTITY_ITEMS = 300

_NAMES = {"cf", "metadata"}
_LOOP = "@not_strictly_false"
_FUNCTIONS = {
    *("!_", "_&&_", "_||_", "_?_:_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_[_]", _LOOP),
    *("-_", "_-_", "_*_", "_/_", "_%_", "size", "contains", "startsWith", "endsWith", "string", "int", "double"),
}
_LOOP_WORD = re.compile(r"\b(?:all|exists)\b")
_OUTSIDE_WORD = re.compile(r"\b(?:cf|metadata)\b")
_POSITION = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")

# A field that is not there, or is of another kind than the condition takes it for.
_UNKNOWN = (KeyError, IndexError, TypeError, ValueError, ArithmeticError, RuntimeError)


class ConditionError(AigwError):
    """
    A condition that cannot be used.

    Args:
        reason: What is wrong; for a mistake in its syntax, with line and column, counted from 1.
    """


class Facts:
    """
    What conditions and actors are told of a request.

    Args:
        identity: Verified claims: `user` and `custom`; of a user, an empty text is a missing one.
        metadata: As sent by the caller.
        country: Two letters, or empty.
    """

    def __init__(self, identity: Mapping[str, Any], metadata: Mapping[str, Any], country: str) -> None:
        user = {claim: value for claim, value in identity.get("user", {}).items() if value != ""}
        self._cf: dict[str, Any] = {"user": user, "custom": identity.get("custom", {})}
        if country:
            self._cf["country"] = country
        self._metadata = dict(metadata)
        self._context: Context | None = None
        self._unfit = _too_large(self._cf)

    def context(self) -> Context | None:
        """The same for CEL; None when it cannot be held there, such as an identity that is too large."""
        if self._context is None and not self._unfit:
            from cel import Context

            try:
                self._context = Context({"cf": self._cf, "metadata": self._metadata})
            except _UNKNOWN:
                self._unfit = True
        return self._context

    def value(self, path: str) -> Any:
        """What stands at `cf.<path>` or `metadata.<key>`; None when nothing does."""
        root, _, rest = path.partition(".")
        if root == "metadata":
            return self._metadata.get(rest)
        value: Any = self._cf
        for name in rest.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


@attrs.frozen
class Condition:
    """
    A condition that was compiled; without a program it always holds.
    """

    _program: Program | None

    def holds(self, facts: Facts) -> bool | None:
        """Whether it holds; None when nobody can say, since a field is missing or of another kind."""
        if self._program is None:
            return True
        context = facts.context()
        if context is None:
            return None
        try:
            value = self._program.execute(context)
        except _UNKNOWN:
            return None
        return value if isinstance(value, bool) else None


def compile_condition(text: str) -> Condition:
    """
    Make a condition ready for evaluation.

    Raises:
        ConditionError: It is no CEL, or more than a condition may be.
    """
    if text.strip() == "true":
        return Condition(None)
    if len(text) > CONDITION_CHARS:
        raise ConditionError(f"longer than {CONDITION_CHARS} characters")
    # With the first condition only: the library brings a command of its own along, and 0.2 s of imports for it.
    from cel import compile as compile_cel

    try:
        program = compile_cel(text)
    except ValueError as error:
        raise ConditionError(_where(text, str(error))) from error
    _check_functions(program)
    _check_names_and_loops(text, program)
    return Condition(program)


def _check_functions(program: Program) -> None:
    strange = sorted(set(program.functions()) - _FUNCTIONS)
    if strange:
        names = ", ".join(f"`{name.strip('_@')}`" for name in strange)
        raise ConditionError(f"{names}: not among what a condition may use (`map`, `filter` and `exists_one` need `+`)")


def _check_names_and_loops(text: str, program: Program) -> None:
    """
    Loops are counted in the text, where strings and comments count too: rather one too many than one too few.
    """
    strange = sorted(set(program.variables()) - _NAMES)
    loops = [match.end() for match in _LOOP_WORD.finditer(text)] if _LOOP in program.functions() else []
    if len(strange) > bool(loops):
        raise ConditionError(f"`{strange[0]}`: no such name; there are `cf` and `metadata`")
    if not loops:
        return
    if len(loops) > 1:
        raise ConditionError("more than one `exists` or `all`")
    if len(text) > LOOP_CHARS:
        raise ConditionError(f"longer than {LOOP_CHARS} characters, with `exists` or `all`")
    if _OUTSIDE_WORD.search(text, loops[0]):
        raise ConditionError("`cf` or `metadata` behind `exists` or `all`; name them before it")


def _where(text: str, complaint: str) -> str:
    """The first mistake that the parser names, with its place."""
    # The parser repeats the condition first, and that may hold anything.
    found = _POSITION.search(complaint, complaint.find(text) + len(text))
    if found is None:
        return "no CEL that can be read"
    line, column, reason = found.groups()
    return f"line {line}, column {column}: {reason[:200]}"


def _too_large(value: Any) -> bool:
    """Whether there are more values within a value than an identity may have."""
    found, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            one = one.values()
        elif not isinstance(one, (list, tuple)):
            continue
        found += len(one)
        if found > IDENTITY_ITEMS:
            return True
        waiting += one
    return False
