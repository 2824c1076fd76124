"""Stages 5 to 7 of one step: the controls refuse it, have its answer already, or let it through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from aigw.controls.bounds import HolderGuard
from aigw.controls.cache import Cache, CachePlan, Found
from aigw.controls.cache_key import CacheKeys
from aigw.controls.entry import Till, Watch
from aigw.controls.estimate import Estimates, EstimateSettings
from aigw.controls.hold import NOTHING_HELD, Hold
from aigw.controls.holder_limits import HolderLimits
from aigw.controls.policies import Policies
from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.reserve import Reserve
from aigw.controls.semantic_cache import SemanticCaches, Sought
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.dispatch.flights import Flights
from aigw.interfaces import ICacheStore, ICounters
from aigw.values.gateway import Gateway


class Guard(Protocol):
    """Judges a step by what is known of it."""

    def check(self, visit: Visit) -> None:
        """
        Let it through.

        Raises:
            GatewayError: Why not.
        """


@attrs.frozen
class Admitted:
    """
    What the controls say of a step that they do not refuse.

    Attributes:
        hold: What was taken from its limits.
        plan: How its answer is cached and shared, None when it is not.
        found: An answer from the cache; one that is stale is for the case that the provider fails.
        follows: Whether nothing was taken from its limits, since another exchange is about to get its answer.
        sought: What came of the search for a question that means the same.
    """

    hold: Hold
    plan: CachePlan | None = None
    found: Found | None = None
    follows: bool = False
    sought: Sought | None = None


@attrs.frozen
class Controls:
    """
    Every control that a step passes before a provider is asked.

    Attributes:
        guards: Stage 5, in their order.
        cache, flights: Stage 6.
        reserve: Stage 7.
        version: Of a gateway's settings, for caches that a change empties.
        counts: How often each stage did its work.
        semantic: A part of stage 6; None where there is none.
    """

    guards: Sequence[Guard]
    cache: Cache
    flights: Flights
    reserve: Reserve
    version: Callable[[Gateway], int]
    counts: StageCounts
    semantic: SemanticCaches | None = None

    def admit(self, visit: Visit, held: Hold) -> Admitted | Deferred[Admitted]:
        """
        Ask every control.

        Args:
            visit: The step.
            held: What earlier steps of the exchange have taken.
        Returns:
            Their answer; a Deferred, which may be cancelled, when a store must be asked.
        Raises:
            GatewayError: One of them refuses; so does the Deferred.
        """
        self._check(visit)
        plan = self.cache.plan(visit, self.version(visit.gateway))
        if plan is None:
            return self._reserve(visit, held, None, None)
        self.counts["cache"] += 1
        found = self.cache.look_up(plan, visit.now_ms)
        if isinstance(found, Deferred):
            return found.addCallback(partial(self._looked_up, visit, held, plan))
        return self._looked_up(visit, held, plan, found)

    def admit_session(self, visit: Visit) -> Hold | Deferred[Hold]:
        """As `admit`, for a realtime session: nothing of it is cached."""
        self._check(visit)
        return self.reserve.take(visit, NOTHING_HELD)

    def _check(self, visit: Visit) -> None:
        for guard in self.guards:
            guard.check(visit)
        self.counts["guard"] += 1

    def _looked_up(
        self, visit: Visit, held: Hold, plan: CachePlan, found: Found | None
    ) -> Admitted | Deferred[Admitted]:
        if found is not None and not found.stale:
            return Admitted(held, plan, found)
        if self.flights.has(plan):
            # Who shares a call takes nothing from a limit, as with any other hit.
            return Admitted(held, plan, found, follows=True)
        if plan.semantic and self.semantic is not None:
            seeking = self.semantic.look_up(visit, self.version(visit.gateway), visit.now_ms)
            if seeking is not None:
                return seeking.addCallback(partial(self._sought, visit, held, plan, found))
        return self._reserve(visit, held, plan, found)

    def _sought(
        self, visit: Visit, held: Hold, plan: CachePlan, stale: Found | None, sought: Sought | None
    ) -> Admitted | Deferred[Admitted]:
        if sought is not None and sought.answer is not None:
            return Admitted(held, plan, stale, sought=sought)
        return self._reserve(visit, held, plan, stale, sought)

    def _reserve(
        self, visit: Visit, held: Hold, plan: CachePlan | None, stale: Found | None, sought: Sought | None = None
    ) -> Admitted | Deferred[Admitted]:
        hold = self.reserve.take(visit, held)
        if isinstance(hold, Deferred):
            return hold.addCallback(lambda taken: Admitted(taken, plan, stale, sought=sought))
        return Admitted(hold, plan, stale, sought=sought)


def make_controls(
    counters: ICounters,
    store: ICacheStore,
    utc_ms: Callable[[], int],
    version: Callable[[Gateway], int],
    estimates: EstimateSettings,
    policies: Policies,
    counts: StageCounts,
    soon: Callable[[Callable[[], None]], object],
    watch: Watch | None = None,
    semantic: Callable[[CacheKeys], SemanticCaches] | None = None,
) -> Controls:
    """
    All controls, in their order.

    Args:
        counters: For limits and budgets.
        store: For cached answers.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        version: See `Controls`.
        estimates: Of what a request may use.
        policies: The owner's.
        counts: See `Controls`.
        soon: Calls back in the next turn of the reactor.
        watch: Is told when budgets change.
        semantic: Makes the semantic caches, given what makes the keys of the exact one.
    """
    cache = Cache(store, utc_ms)
    till = Till(counters, Estimates(estimates), utc_ms, watch)
    sources = (GatewayRateLimits(), HolderLimits(), GatewaySpendLimits(), policies)
    return Controls(
        (HolderGuard(), policies), cache, Flights(cache, soon), Reserve(till, sources, counts), version, counts
    )
