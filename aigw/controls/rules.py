"""The owner's rules, compiled: from a request to the limit that a rule sets for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from hashlib import sha256

import attrs
import msgspec

from aigw.controls.limit import RATE, SPEND, Limit, Overrun
from aigw.controls.partition import Filter, Part, filters, key_text, part
from aigw.controls.visit import Visit
from aigw.controls.windows import Window, fixed, sliding
from aigw.errors import GatewayError, RateLimited, SpendLimitExceeded
from aigw.values.limits import LimitRule, Technique
from aigw.values.usage import NANOUSD_PER_USD

# Limits of one rule that are kept ready, one for each of its partitions.
PARTITIONS_KEPT = 1024

# A counter is a signed 64-bit integer in every store.
_MOST_NANOUSD = 2**62


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


def compile_rule(rule: LimitRule, owner: str) -> Rule:
    """
    Make a rule ready.

    Args:
        rule: See there.
        owner: Whose counters they are, such as `gateway:local/default` or `token:tok_1`. Rules of one owner that have
            no id and differ in nothing but their limit share a counter.
    """
    money = rule.unit == "usd"
    amount = nanousd(rule.limit) if money else max(1, int(rule.limit))
    limit = Limit(
        key=(SPEND if money else RATE) + rule_key(owner, rule.id, rule.window, rule.technique, _content(rule)),
        unit=rule.unit,
        limit=amount,
        window=make_window(rule.window, rule.technique),
        name=rule.id or f"{plain(rule.limit)} {rule.unit} per {rule.window}s",
        refusal=partial(spend_refusal, rule.id or "limit", plain(rule.limit), rule.window, rule.technique)
        if money
        else partial(_rate_refusal, rule),
        alert=money,
    )
    found = filters(rule.models, rule.providers, rule.metadata)
    return Rule(limit, found, [part(name) for name in sorted(set(rule.per))])


def make_window(window_s: int, technique: Technique | None) -> Window:
    """The window of a rule."""
    return sliding(window_s) if technique == "sliding" else fixed(window_s)


def nanousd(usd: float) -> int:
    """Dollars as nano-dollars, 1 at least."""
    return min(max(1, round(usd * NANOUSD_PER_USD)), _MOST_NANOUSD)


def plain(number: float) -> str:
    """A number without exponent and without needless zeros."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def rule_key(owner: str, rule_id: str, window_s: int, technique: str, content: Collection[object]) -> str:
    """
    A counter's key without its partitions.

    What was counted stays when the owner saves the settings again, puts rules into another order or changes a limit's
    height; another window counts anew, since its slots are others.

    Args:
        owner: See `compile_rule`.
        rule_id: The rule's own name; empty: the counter is found by what the rule is for.
        window_s, technique: Of the rule.
        content: What the rule is for: whatever msgspec can write.
    """
    name = key_text(rule_id) if rule_id else "#" + sha256(msgspec.json.encode(content)).hexdigest()[:32]
    return f"{owner}:{name}:{window_s}{'s' if technique == 'sliding' else 'f'}"


def _content(rule: LimitRule) -> list[object]:
    metadata = sorted((key, sorted(values)) for key, values in rule.metadata.items())
    return [rule.unit, sorted(set(rule.per)), sorted(rule.models), sorted(rule.providers), metadata]


def _rate_refusal(rule: LimitRule, overrun: Overrun, visit: Visit) -> GatewayError:
    named = f"limit '{rule.id}' " if rule.id else ""
    return RateLimited(f"{named}({plain(rule.limit)} {rule.unit} per {rule.window}s, {rule.technique})")


def spend_refusal(
    name: str, limit_usd: str, window_s: int, technique: str, overrun: Overrun, visit: Visit
) -> GatewayError:
    """A budget's refusal, in the words that are known from Cloudflare."""
    return SpendLimitExceeded(
        f"rule '{name}' (cost limit {limit_usd} per {window_s}s, {technique}) "
        f"for {visit.target.provider} {visit.target.model}"
    )
