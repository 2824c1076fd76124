"""
What an owner's rules say of a step. They look at who calls, from where, for which model, and with which metadata, and
say the same as long as those are the same: so they are asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from aigw.controls.authentication import Caller
from aigw.controls.limit import Limit
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.values.gateway import Gateway

# More than the callers and models of a busy minute; the one that came first makes room.
KEPT = 8_192


class Guard(Protocol):
    """Judges a step by what is known of it."""

    def check(self, visit: Visit) -> None:
        """
        Let it through.

        Raises:
            GatewayError: Why not.
        """


class _Judgement(msgspec.Struct, frozen=True):
    """
    Attributes:
        gateway, caller: Held, so that no other objects get their identities.
        limits: That hold for the step, no two with the same key.
        worked: Names of the stages that had something to say.
    """

    gateway: Gateway
    caller: Caller
    limits: Sequence[Limit]
    worked: tuple[str, ...]


class Judgements:
    """
    Asks guards and sources of limits, and remembers what they said.

    A refusal is not remembered: whoever comes often in vain costs only itself.

    Args:
        guards: Stage 5, in their order.
        limits_of: Gives the limits of a step.
        counts: Of the stages.
    """

    def __init__(
        self, guards: Sequence[Guard], limits_of: Callable[[Visit], Sequence[Limit]], counts: StageCounts
    ) -> None:
        self._guards = guards
        self._limits_of = limits_of
        self._counts = counts
        self._known: dict[object, _Judgement] = {}

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """
        The limits that hold for a step which no guard refuses.

        Raises:
            GatewayError: One of them does.
        """
        target = visit.target
        key = (
            *(id(visit.gateway), id(visit.caller), target.provider, target.model),
            *(visit.ask.sure, visit.raw_metadata, visit.country),
        )
        known = self._known.get(key)
        if known is None:
            known = self._judge(visit)
            if len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = known
        else:
            for stage in known.worked:
                self._counts[stage] += 1
        return known.limits

    def _judge(self, visit: Visit) -> _Judgement:
        before = dict(self._counts)
        self._counts["guard"] += 1
        for guard in self._guards:
            guard.check(visit)
        limits = self._limits_of(visit)
        worked = tuple(stage for stage, count in self._counts.items() if count > before[stage])
        return _Judgement(visit.gateway, visit.caller, limits, worked)

    def forget(self) -> None:
        """Something other than a gateway or a caller has changed: policies."""
        self._known.clear()
