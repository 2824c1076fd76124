"""What an operator can set: every key of a settings class, for checking and for the reference pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec
from msgspec import inspect as kinds

ENVIRONMENT_PREFIX = "AIGW_"

_NUMBER_BOUNDS = (("gt", "more than {}"), ("ge", "at least {}"), ("lt", "less than {}"), ("le", "at most {}"))
_NUMBERS = {kinds.IntType: "a whole number", kinds.FloatType: "a number"}
_PLAIN = {kinds.BoolType: "true or false", kinds.NoneType: "absent", kinds.DictType: "a table"}


@attrs.frozen
class Key:
    """
    One thing that can be set.

    Attributes:
        path: As in the file: `spool.durability`, `providers.<slug>.base_url`, `gateway[].id`.
        expects: What may stand there, in words.
        default: What holds when nothing is said; None for nothing at all.
        required: Whether something must be said.
        environment: The variable that sets it too; empty for keys within named or repeated tables.
        text: What it does.
    """

    path: str
    expects: str
    default: Any
    required: bool
    environment: str
    text: str


# What stands for a table: rooms declare Structs, or attrs classes where fields need validators of their own.
TABLES = (kinds.StructType, kinds.DataclassType)


def describe(settings: type, path: str = "") -> list[Key]:
    """
    Every key of a settings class and of the classes within.

    Args:
        settings: A class whose fields carry their text as `Meta(description=...)` or in their docstring's
            `Attributes:`.
        path: Of the table that the class stands for, empty for the whole file.
    """
    return list(_keys(settings, path))


def _keys(settings: type, path: str) -> Iterator[Key]:
    texts = _docstring_texts(settings)
    info = kinds.type_info(settings)
    assert isinstance(info, TABLES)  # noqa: S101 - narrows the type
    for field in info.fields:
        key = f"{path}.{field.encode_name}" if path else field.encode_name
        kind = unwrapped(field.type)
        table, suffix = _table(kind)
        if table is not None:
            yield from _keys(table, key + suffix)
        else:
            default = None if field.default is msgspec.NODEFAULT else field.default
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            text = _description(field.type) or texts.get(field.name, "")
            yield Key(key, expectation(kind), default, field.required, _environment(key), text)


def _table(kind: kinds.Type) -> tuple[type | None, str]:
    """The class behind a table, and how its place in the path is written; None when the kind is no table."""
    if isinstance(kind, TABLES):
        return kind.cls, ""
    if isinstance(kind, kinds.DictType) and isinstance(value := unwrapped(kind.value_type), TABLES):
        return value.cls, ".<slug>"
    if isinstance(kind, kinds.ListType | kinds.VarTupleType) and isinstance(item := unwrapped(kind.item_type), TABLES):
        return item.cls, "[]"
    return None, ""


def unwrapped(kind: kinds.Type) -> kinds.Type:
    """The kind without its description, and without `None` where that only says that the key may be absent."""
    if isinstance(kind, kinds.Metadata):
        return unwrapped(kind.type)
    if isinstance(kind, kinds.UnionType):
        rest = [one for one in kind.types if not isinstance(one, kinds.NoneType)]
        if len(rest) == 1:
            return unwrapped(rest[0])
    return kind


def expectation(kind: kinds.Type) -> str:
    """What may stand for a kind, in words that fit behind `expected`."""
    kind = unwrapped(kind)
    for number, name in _NUMBERS.items():
        if isinstance(kind, number):
            bounds = [text.format(getattr(kind, bound)) for bound, text in _NUMBER_BOUNDS if _bound(kind, bound)]
            return f"{name} of {' and '.join(bounds)}" if bounds else name
    if isinstance(kind, kinds.LiteralType):
        return "one of " + ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, kinds.ListType | kinds.VarTupleType):
        return f"a list{_length(kind, 'items')}, each item {expectation(kind.item_type)}"
    if isinstance(kind, kinds.StrType):
        matching = f" matching `{kind.pattern}`" if kind.pattern else ""
        return f"text{_length(kind, 'characters')}{matching}"
    if isinstance(kind, kinds.UnionType):
        return " or ".join(expectation(one) for one in kind.types if not isinstance(one, kinds.NoneType))
    return next((name for plain, name in _PLAIN.items() if isinstance(kind, plain)), "a table")


def _length(kind: kinds.ListType | kinds.VarTupleType | kinds.StrType, of: str) -> str:
    """The bounds of a length, as the middle of a sentence; empty when there are none that matter."""
    bounds = [f"at least {kind.min_length}"] if (kind.min_length or 0) > 1 else []
    bounds += [f"at most {kind.max_length}"] if kind.max_length is not None else []
    return f" of {' and '.join(bounds)} {of}" if bounds else ""


def _bound(kind: kinds.Type, bound: str) -> bool:
    return getattr(kind, bound) is not None


def _environment(path: str) -> str:
    return "" if "<" in path or "[" in path else ENVIRONMENT_PREFIX + path.replace(".", "_").upper()


def _description(kind: kinds.Type) -> str:
    if isinstance(kind, kinds.Metadata):
        return str((kind.extra_json_schema or {}).get("description", "")) or _description(kind.type)
    if isinstance(kind, kinds.UnionType):
        return next(filter(None, map(_description, kind.types)), "")
    return ""


def _docstring_texts(settings: type) -> dict[str, str]:
    """What the `Attributes:` section of a class says of each attribute."""
    doc = inspect.getdoc(settings) or ""
    _, _, section = doc.partition("Attributes:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        if entry := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
            names = entry[1].split(", ")
            texts.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            texts.update((name, f"{texts[name]} {line.strip()}") for name in names)
    return texts
