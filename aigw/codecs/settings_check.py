"""Holds what an operator wrote against a settings class and finds all mistakes, not only the first."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import inspect as kinds

from aigw.codecs.settings_keys import TABLES, describe, expectation, unwrapped

# Values of other keys are never repeated in a problem: they may be passwords.
_SHOWN = (kinds.IntType, kinds.FloatType, kinds.BoolType, kinds.LiteralType)

_TYPE_NAMES = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (dict, "a table"),
    ((list, tuple), "a list"),
)


def problems_of(tree: object, settings: type) -> list[str]:
    """
    Everything that is wrong with a file's content.

    Args:
        tree: As parsed from TOML.
        settings: What it should be; only Structs, attrs classes, lists, dicts and plain values within.
    Returns:
        One sentence a mistake, each beginning with the path of its key; none when `msgspec.convert` takes the tree.
    """
    return list(_check(tree, settings, "", [key.path for key in describe(settings)]))


def read_text(text: str | Sequence[str], annotation: Any, separator: str = ";") -> Any:
    """
    The value of a setting that came as text: from the environment or from a command line.

    Args:
        text: As given; for a list, its items, or all of them with `separator` between.
        annotation: The field's type.
        separator: Between the items of a list.
    Raises:
        ValueError: The sentence that tells what is wrong, without the setting's name.
    """
    kind = unwrapped(kinds.type_info(annotation))
    value: Any = text
    if isinstance(kind, kinds.ListType | kinds.VarTupleType) and isinstance(text, str):
        value = [item.strip() for item in text.split(separator) if item.strip()]
    if isinstance(kind, kinds.BoolType) and isinstance(text, str):
        value = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
    try:
        converted = msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError:
        raise ValueError(_mismatch(value, kind)) from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError(_mismatch(value, kind))
    return converted


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that a mistyped one resembles, as the end of a sentence; empty when none does."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _check(value: object, annotation: Any, path: str, known: list[str]) -> Iterator[str]:
    kind = unwrapped(kinds.type_info(annotation))
    if value is None and _may_be_absent(kinds.type_info(annotation)):
        return
    if isinstance(kind, TABLES):
        yield from _check_table(value, kind, path, known)
    elif isinstance(kind, kinds.DictType) and isinstance(value, dict):
        key, item = get_args(_bare(annotation))
        for name, entry in value.items():
            yield from _check_name(name, key, f"{path}.{name}")
            yield from _check(entry, item, f"{path}.{name}", known)
    elif isinstance(kind, kinds.ListType | kinds.VarTupleType) and isinstance(value, list):
        item = get_args(_bare(annotation))[0]
        found = [problem for i, entry in enumerate(value) for problem in _check(entry, item, f"{path}[{i}]", known)]
        yield from found or _check_value(value, annotation, kind, path)
    else:
        yield from _check_value(value, annotation, kind, path)


def _may_be_absent(kind: kinds.Type) -> bool:
    """Whether `null`, which JSON has and TOML has not, says that nothing is set."""
    if isinstance(kind, kinds.Metadata):
        return _may_be_absent(kind.type)
    return isinstance(kind, kinds.NoneType) or (
        isinstance(kind, kinds.UnionType) and any(isinstance(one, kinds.NoneType) for one in kind.types)
    )


def _check_name(name: str, annotation: Any, path: str) -> Iterator[str]:
    """What a table whose names are its owner's says against one of them."""
    try:
        msgspec.convert(name, annotation)
    except msgspec.ValidationError:
        yield f"{path}: expected as a name {expectation(kinds.type_info(annotation))}"


def _check_table(
    value: object, kind: kinds.StructType | kinds.DataclassType, path: str, known: list[str]
) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected a table, got {_type_name(value)}"
        return
    found: list[str] = []
    annotations = get_type_hints(kind.cls, include_extras=True)
    names = {field.encode_name: field.name for field in kind.fields}
    for name, entry in value.items():
        key = f"{path}.{name}" if path else name
        if name in names:
            found += _check(entry, annotations[names[name]], key, known)
        else:
            # A key in the wrong table is as common as a mistyped one.
            elsewhere = [other for other in known if other.rpartition(".")[2] == name]
            hint = f"; did you mean `{elsewhere[0]}`?" if elsewhere else nearest(name, names)
            found.append(f"{key}: no such key{hint}")
    for field in kind.fields:
        if field.required and field.encode_name not in value:
            key = f"{path}.{field.encode_name}" if path else field.encode_name
            found.append(f"{key}: missing; expected {expectation(field.type)}")
    yield from found or _check_as_a_whole(value, kind.cls, path)


def _check_as_a_whole(value: dict[str, object], settings: type, path: str) -> Iterator[str]:
    """What a class itself says against values that are right one by one."""
    try:
        msgspec.convert(value, settings)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}" if path else str(error)


def _check_value(value: object, annotation: Any, kind: kinds.Type, path: str) -> Iterator[str]:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        yield f"{path}: {_mismatch(value, kind)}"
    else:
        # TOML has `nan` and `inf`, and no comparison with a bound refuses a `nan`.
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{path}: {_mismatch(value, kind)}"


def _bare(annotation: Any) -> Any:
    """The annotation without `Annotated` and `| None`, so that its own arguments can be read."""
    arguments = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _bare(arguments[0])
    if type(None) in arguments:
        return _bare(next(one for one in arguments if one is not type(None)))
    return annotation


def _mismatch(value: object, kind: kinds.Type) -> str:
    wrong = f"`{value}`" if isinstance(kind, _SHOWN) and not isinstance(value, dict | list) else _type_name(value)
    hint = ""
    if isinstance(kind, kinds.LiteralType) and isinstance(value, str):
        hint = nearest(value, map(str, kind.values))
    return f"expected {expectation(kind)}, got {wrong}{hint}"


def _type_name(value: object) -> str:
    return next((name for kind, name in _TYPE_NAMES if isinstance(value, kind)), "a date")
