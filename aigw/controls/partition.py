"""Which requests a rule is for, and into which of its counters each goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import sha256

from aigw.controls.patterns import matcher
from aigw.controls.visit import Visit

Filter = Callable[[Visit], bool]
# None for a request that lacks the value.
Part = Callable[[Visit], str | None]

# What goes into a counter's key as it is. All else (long texts, separators, what no database takes) goes as a digest.
_PLAIN = re.compile(r"[A-Za-z0-9@._/+-]{1,64}\Z").match

# How the holder of bounds is named when it is a token.
_HOLDER = "token:"


def name_filter(patterns: Collection[str]) -> Callable[[str], bool]:
    """
    Whether a model or a provider is one of these.

    Args:
        patterns: Names; `*` stands for any characters but `/`. Letters are taken as equal in either case: a vendor that
            does the same must not be a way around a limit.
    """
    matches = matcher(tuple(pattern.lower() for pattern in patterns))
    return lambda name: matches(name.lower())


def key_text(value: str) -> str:
    """A text as part of a counter's key: short, one of a kind, and taken by every store."""
    if _PLAIN(value):
        return value
    return "#" + sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def metadata_text(value: str | int | float | bool) -> str:
    """A value of metadata as the owner writes it in a rule: `true`, `5`, `free`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def filters(
    models: Collection[str], providers: Collection[str], metadata: Mapping[str, Collection[str]]
) -> tuple[Filter, ...]:
    """What a request must fulfil for a rule to hold; empty for a rule that holds for all."""
    found: list[Filter] = []
    if providers:
        provider_is = name_filter(providers)
        found.append(lambda visit: provider_is(visit.target.provider))
    if models:
        model_is = name_filter(models)
        # A request whose model cannot be told must not be a way around a limit.
        found.append(lambda visit: not visit.ask.sure or model_is(visit.target.model))
    found += [partial(_has_metadata, key, frozenset(values)) for key, values in metadata.items()]
    return tuple(found)


def _has_metadata(key: str, values: Collection[str], visit: Visit) -> bool:
    value = visit.metadata.get(key)
    return value is not None and metadata_text(value) in values


def part(name: str) -> Part:
    """
    What tells a rule's counters apart.

    Args:
        name: One of `LimitRule.per`.
    """
    if name.startswith("metadata."):
        return partial(_metadata_part, name.removeprefix("metadata."))
    return _PARTS[name]


def _metadata_part(key: str, visit: Visit) -> str | None:
    value = visit.metadata.get(key)
    return None if value is None else metadata_text(value)


def _token(visit: Visit) -> str | None:
    caller = visit.caller
    # A minted token counts with the one that it was minted from, which comes behind it: to mint many is no way round.
    for bound in reversed(caller.bounds):
        if bound.holder.startswith(_HOLDER):
            return bound.holder.removeprefix(_HOLDER)
    return caller.token_id or None


_PARTS: dict[str, Part] = {
    "token": _token,
    "team": lambda visit: visit.caller.team or None,
    "user": lambda visit: visit.caller.user or None,
    "provider": lambda visit: visit.target.provider,
    # Those whose model cannot be told share a counter.
    "model": lambda visit: (visit.target.model.lower() or None) if visit.ask.sure else "?",
}
