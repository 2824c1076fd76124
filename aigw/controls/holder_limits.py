"""Limits of tokens and teams: they hold on whatever gateway the caller comes to."""

from __future__ import annotations

from collections.abc import Sequence

from aigw.controls.authentication import Bound
from aigw.controls.limit import Limit
from aigw.controls.limit_rules import compile_rule
from aigw.controls.rules import Rules
from aigw.controls.snapshots import Compiled
from aigw.controls.visit import Visit


class HolderLimits:
    """The limits of each token and team, compiled once for each snapshot of its bounds; a `LimitSource`."""

    def __init__(self) -> None:
        self._rules: Compiled[Bound, Rules] = Compiled(_holder_rules)

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """See `LimitSource`."""
        if not visit.caller.bounds:
            return ()
        found: list[Limit] = []
        for bound in visit.caller.bounds:
            if bound.bounds.limits:
                found += self._rules.of(bound).limits(visit)
        return found


def _holder_rules(bound: Bound) -> Rules:
    return Rules(compile_rule(rule, bound.holder) for rule in bound.bounds.limits)
