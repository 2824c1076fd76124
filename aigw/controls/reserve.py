"""Stage 7: one step takes from every limit that holds for it, or from none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.controls.hold import NOTHING_HELD, Entry, Hold, Till, passes, refusal, unavailable
from aigw.controls.limit import Limit, LimitSource
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.errors import StateUnavailable
from aigw.values.counting import Charge, Verdict

__all__ = ["NOTHING_HELD", "Hold", "Reserve"]


class Reserve:
    """
    Holds every step to its limits.

    Args:
        till: Counters, estimates and the clock.
        sources: Whoever sets limits; the first that refuses is the one that the client is told of.
        counts: Counts `rate_limit` and `spend_limit`.

    Attributes:
        uncounted: How many steps passed limits whose counters could not be reached.
        unavailable: How many were refused because of that.
    """

    def __init__(self, till: Till, sources: Sequence[LimitSource], counts: StageCounts) -> None:
        self._till = till
        self._sources = [source.limits for source in sources]
        self._counts = counts
        self.uncounted = 0
        self.unavailable = 0

    def take(self, visit: Visit, held: Hold = NOTHING_HELD) -> Hold | Deferred[Hold]:
        """
        Take what a step may use.

        Args:
            visit: The step.
            held: What earlier steps of the exchange have taken; a limit that holds for several is charged once.
        Returns:
            What the exchange holds from now on, in place of `held`; a Deferred when the counters are elsewhere, which
            may be cancelled: what it had taken is then given back.
        Raises:
            GatewayError: A limit refuses, and nothing was taken; `held` stays as it is. So does the Deferred.
        """
        limits: list[Limit] = []
        for limits_of in self._sources:
            found = limits_of(visit)
            if found:
                limits += found
        if limits:
            return self._take(visit, held, limits)
        if held.entries:
            held.move_on(visit, ())
        return held

    def _take(self, visit: Visit, held: Hold, limits: Sequence[Limit]) -> Hold | Deferred[Hold]:
        now_ms = self._till.utc_ms()
        entries, charges, charged = self._charges(visit, held, _by_key(limits), now_ms)
        if not charges:
            return _taken(self._till, visit, held, entries)
        try:
            verdict = self._till.counters.take(charges)
        except StateUnavailable:
            return self._without(visit, held, limits)
        if isinstance(verdict, Deferred):
            return verdict.addCallbacks(
                partial(self._judged, visit, held, entries, charges, charged, now_ms),
                partial(self._failed, visit, held, limits),
            )
        return self._judged(visit, held, entries, charges, charged, now_ms, verdict)

    def _charges(
        self, visit: Visit, held: Hold, limits: Sequence[Limit], now_ms: int
    ) -> tuple[list[Entry], list[Charge], list[Entry]]:
        """
        What is to be taken.

        Returns:
            The entries that hold for the step; the charges; and the entry of each charge.
        """
        counts = self._counts
        entries: list[Entry] = []
        charges: list[Charge] = []
        charged: list[Entry] = []
        usage = money = None
        rate = False
        before = {entry.limit.key: entry for entry in held.entries} if held.entries else None
        for limit in limits:
            unit = limit.unit
            if unit == "requests":
                amount = need = 1
            else:
                if usage is None:
                    usage = self._till.estimates.usage(visit)
                if unit == "tokens":
                    amount, need = self._till.estimates.tokens(usage)
                else:
                    if money is None:
                        money = self._till.estimates.nanousd(visit, usage)
                    amount, need = money
            rate |= unit != "usd"
            span = limit.window.at(now_ms)
            entry = before.get(limit.key) if before is not None else None
            if entry is None:
                entry = Entry(limit, span)
            elif entry.amount >= amount or entry.span.slot != span.slot:
                entries.append(entry)
                continue
            else:
                # A dearer step than the one before: only what it needs beyond that.
                amount -= entry.amount
                need = min(max(1, need - entry.amount), amount)
            entries.append(entry)
            charged.append(entry)
            charges.append(Charge(limit.key, span.slot, span.first, amount, need, limit.limit, span.expires_ms))
        if rate:
            counts["rate_limit"] += 1
        if money is not None:
            counts["spend_limit"] += 1
        return entries, charges, charged

    def _judged(
        self,
        visit: Visit,
        held: Hold,
        entries: list[Entry],
        charges: list[Charge],
        charged: list[Entry],
        now_ms: int,
        verdict: Verdict,
    ) -> Hold:
        refused = verdict.refused
        if refused >= 0:
            entry = charged[refused]
            entry.used = verdict.used[refused]
            if self._till.watch is not None:
                self._till.watch.changed(visit.gateway, (entry,))
            retry_after_s = entry.limit.window.retry_after_s(now_ms, verdict.oldest)
            raise refusal(entry.limit, visit, entry.used, retry_after_s)
        for entry, charge, used in zip(charged, charges, verdict.used, strict=True):
            entry.amount += charge.amount
            entry.used = used
        return _taken(self._till, visit, held, entries)

    # Without counters -----------------------------------------------------------------------------------------------

    def _failed(self, visit: Visit, held: Hold, limits: Sequence[Limit], failure: Failure) -> Hold | Deferred[Hold]:
        failure.trap(StateUnavailable)
        return self._without(visit, held, limits)

    def _without(self, visit: Visit, held: Hold, limits: Sequence[Limit]) -> Hold | Deferred[Hold]:
        """The counters cannot be reached: do what the owner chose."""
        # Counters of money may be on their way back from the log while all others are there.
        money = [limit for limit in limits if limit.unit == "usd"]
        others = [limit for limit in limits if limit.unit != "usd"] if money else []
        if not all(passes(limit, visit) for limit in (money or limits)):
            self.unavailable += 1
            raise unavailable()
        if others:
            return self._take(visit, held, others)
        self.uncounted += 1
        return held


def _by_key(limits: Sequence[Limit]) -> Sequence[Limit]:
    """The limits, and of those that share a counter only the lowest."""
    count = len(limits)
    if count == 1 or (count == 2 and limits[0].key != limits[1].key):
        return limits
    if len({limit.key for limit in limits}) == count:
        return limits
    lowest: dict[str, Limit] = {}
    for limit in limits:
        other = lowest.get(limit.key)
        if other is None or limit.limit < other.limit:
            lowest[limit.key] = limit
    return list(lowest.values())


def _taken(till: Till, visit: Visit, held: Hold, entries: list[Entry]) -> Hold:
    if not held.entries:
        return Hold(till, visit, entries)
    held.move_on(visit, entries)
    return held
