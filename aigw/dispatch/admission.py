"""Stages 5 to 7 of one step: the controls refuse it, have its answer already, or let it through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
import msgspec
from twisted.internet.defer import Deferred

from aigw.controls.bounds import HolderGuard
from aigw.controls.cache import Cache, CachePlan, Found
from aigw.controls.cache_key import CacheKeys
from aigw.controls.entry import Till, Watch
from aigw.controls.estimate import Estimates, EstimateSettings
from aigw.controls.hold import NOTHING_HELD, Hold
from aigw.controls.holder_limits import HolderLimits
from aigw.controls.judgements import Judgements
from aigw.controls.limit import Limit
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


class Admitted(msgspec.Struct, frozen=True, gc=False):
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


class Asked(msgspec.Struct, frozen=True, gc=False):
    """
    A step on its way through the controls.

    Attributes:
        visit: See there.
        held: What earlier steps of the exchange have taken.
        limits: That hold for it.
        may_follow: See `Controls.admit`.
    """

    visit: Visit
    held: Hold
    limits: Sequence[Limit]
    may_follow: bool


@attrs.frozen
class Controls:
    """
    Every control that a step passes before a provider is asked.

    Attributes:
        judgements: Stage 5, and which limits hold for stage 7.
        cache, flights: Stage 6.
        reserve: Stage 7.
        version: Of a gateway's settings, for caches that a change empties.
        counts: How often each stage did its work.
        semantic: A part of stage 6; None where there is none.
    """

    judgements: Judgements
    cache: Cache
    flights: Flights
    reserve: Reserve
    version: Callable[[Gateway], int]
    counts: StageCounts
    semantic: SemanticCaches | None = None

    def admit(self, visit: Visit, held: Hold, may_follow: bool = True) -> Admitted | Deferred[Admitted]:
        """
        Ask every control.

        Args:
            visit: The step.
            held: What earlier steps of the exchange have taken.
            may_follow: Whether the step may wait for a call that another exchange is about to make, or makes.
        Returns:
            Their answer; a Deferred, which may be cancelled, when a store must be asked.
        Raises:
            GatewayError: One of them refuses; so does the Deferred.
        """
        asked = Asked(visit, held, self.judgements.limits(visit), may_follow)
        plan = self.cache.plan(visit, self.version(visit.gateway))
        if plan is None:
            return self._reserve(asked, None, None)
        self.counts["cache"] += 1
        found = self.cache.look_up(plan, visit.now_ms)
        if isinstance(found, Deferred):
            return found.addCallback(partial(self._looked_up, asked, plan))
        return self._looked_up(asked, plan, found)

    def admit_session(self, visit: Visit) -> Hold | Deferred[Hold]:
        """As `admit`, for a realtime session: nothing of it is cached."""
        return self.reserve.take_from(self.judgements.limits(visit), visit, NOTHING_HELD)

    def _looked_up(self, asked: Asked, plan: CachePlan, found: Found | None) -> Admitted | Deferred[Admitted]:
        if found is not None and not found.stale:
            return Admitted(asked.held, plan, found)
        if asked.may_follow and plan.shared and self.flights.has(plan):
            # Who shares a call takes nothing from a limit, as with any other hit.
            return Admitted(asked.held, plan, found, follows=True)
        if plan.semantic and self.semantic is not None:
            visit = asked.visit
            seeking = self.semantic.look_up(visit, self.version(visit.gateway), visit.now_ms)
            if seeking is not None:
                return seeking.addCallback(partial(self._sought, asked, plan, found))
        return self._reserve(asked, plan, found)

    def _sought(
        self, asked: Asked, plan: CachePlan, stale: Found | None, sought: Sought | None
    ) -> Admitted | Deferred[Admitted]:
        if sought is not None and sought.answer is not None:
            return Admitted(asked.held, plan, stale, sought=sought)
        return self._reserve(asked, plan, stale, sought)

    def _reserve(
        self, asked: Asked, plan: CachePlan | None, stale: Found | None, sought: Sought | None = None
    ) -> Admitted | Deferred[Admitted]:
        hold = self.reserve.take_from(asked.limits, asked.visit, asked.held)
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
    reserve = Reserve(till, (GatewayRateLimits(), HolderLimits(), GatewaySpendLimits(), policies), counts)
    judgements = Judgements((HolderGuard(), policies), reserve.limits_of, counts)
    policies.on_changed(judgements.forget)
    finder = semantic(cache.keys) if semantic is not None else None
    return Controls(judgements, cache, Flights(cache, soon), reserve, version, counts, finder)
