"""The owner's rules, compiled: from a request to the limits that they set for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from aigw.controls.limit import Limit
from aigw.controls.partition import Filter, Part, key_text
from aigw.controls.visit import Visit

# Limits of one rule that are kept ready, one for each of its partitions.
PARTITIONS_KEPT = 1024


class Rule:
    """
    Args:
        limit: For a rule without partitions the limit itself; else the beginning of each one's.
        filters: All must let a request through.
        parts: What tells the counters apart; empty: one counter for all.

    Attributes:
        base: As given.
        always: Whether it holds for every request alike.
    """

    __slots__ = ("_filters", "_limits", "_parts", "always", "base")

    def __init__(self, limit: Limit, filters: Sequence[Filter] = (), parts: Sequence[Part] = ()) -> None:
        self.base = limit
        self.always = not filters and not parts
        self._filters = filters
        self._parts = parts
        self._limits: dict[tuple[str, ...], Limit] = {}

    def limit(self, visit: Visit) -> Limit | None:
        """The limit for a step; None when the rule is not for it, or it lacks a partition's value."""
        for holds in self._filters:
            if not holds(visit):
                return None
        if not self._parts:
            return self.base
        values = []
        for read in self._parts:
            value = read(visit)
            if value is None:
                return None
            values.append(value)
        key = tuple(values)
        return self._limits.get(key) or self._made(key)

    def _made(self, values: tuple[str, ...]) -> Limit:
        if len(self._limits) >= PARTITIONS_KEPT:
            del self._limits[next(iter(self._limits))]
        key = "|".join((self.base.key, *map(key_text, values)))
        limit = self._limits[values] = attrs.evolve(self.base, key=key)
        return limit


class Rules:
    """
    All rules of one owner; false when there are none.

    Args:
        rules: In the order in which they are asked. Of those that share a counter only the lowest holds.
    """

    __slots__ = ("_always", "_rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        lowest: dict[str, Rule] = {}
        for rule in rules:
            other = lowest.get(rule.base.key)
            if other is None or rule.base.limit < other.base.limit:
                lowest[rule.base.key] = rule
        self._rules = tuple(lowest.values())
        # Mostly rules hold for every request alike, and there is nothing to ask.
        self._always = [rule.base for rule in self._rules] if all(rule.always for rule in self._rules) else None

    def __bool__(self) -> bool:
        return bool(self._rules)

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """The limits that hold for a step."""
        if self._always is not None:
            return self._always
        return [limit for rule in self._rules if (limit := rule.limit(visit)) is not None]
