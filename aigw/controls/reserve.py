"""Stage 7: one step takes from every limit that holds for it, or from none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.controls.entry import Entry, Till
from aigw.controls.hold import NOTHING_HELD, Hold
from aigw.controls.limit import Limit, LimitSource
from aigw.controls.refusals import passes, refusal, unavailable
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.errors import StateUnavailable
from aigw.values.counting import Charge, Verdict
from aigw.values.limits import Unit

__all__ = ["NOTHING_HELD", "Hold", "Reserve"]

# Amount and need; see `aigw.controls.estimate`.
Size = tuple[int, int]


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
        bid = _Bid(visit, held, self._till.utc_ms())
        sizes: dict[Unit, Size] = {}
        for limit in _by_key(limits):
            size = sizes.get(limit.unit)
            if size is None:
                size = sizes[limit.unit] = self._size(visit, limit.unit)
            bid.add(limit, size)
        if "usd" in sizes:
            self._counts["spend_limit"] += 1
        if len(sizes) > 1 or "usd" not in sizes:
            self._counts["rate_limit"] += 1
        if not bid.charges:
            return bid.granted(self._till, ())
        try:
            verdict = self._till.counters.take(bid.charges)
        except StateUnavailable:
            return self._without(visit, held, limits)
        if isinstance(verdict, Deferred):
            return verdict.addCallbacks(partial(self._judged, bid), partial(self._failed, visit, held, limits))
        return self._judged(bid, verdict)

    def _size(self, visit: Visit, unit: Unit) -> Size:
        """What a step may come to, and what it certainly uses."""
        if unit == "requests":
            return 1, 1
        estimates = self._till.estimates
        usage = estimates.usage(visit)
        return estimates.tokens(usage) if unit == "tokens" else estimates.nanousd(visit, usage)

    def _judged(self, bid: _Bid, verdict: Verdict) -> Hold:
        if verdict.refused < 0:
            return bid.granted(self._till, verdict.used)
        entry = bid.charged[verdict.refused]
        entry.used = verdict.used[verdict.refused]
        if self._till.watch is not None:
            self._till.watch.changed(bid.visit.gateway, (entry,))
        retry_after_s = entry.limit.window.retry_after_s(bid.now_ms, verdict.oldest)
        raise refusal(entry.limit, bid.visit, entry.used, retry_after_s)

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
        self.uncounted += 1
        return self._take(visit, held, others) if others else held


class _Bid:
    """
    What one step asks of its limits.

    Args:
        visit, held: See `Reserve.take`.
        now_ms: UTC, milliseconds since the epoch.

    Attributes:
        visit, now_ms: As given.
        charges: What is to be taken.
        charged: The entry of each charge.
    """

    __slots__ = ("_before", "_current", "_held", "charged", "charges", "now_ms", "visit")

    def __init__(self, visit: Visit, held: Hold, now_ms: int) -> None:
        self.visit = visit
        self.now_ms = now_ms
        self._held = held
        self._before = {entry.limit.key: entry for entry in held.entries} if held.entries else None
        self._current: list[Entry] = []
        self.charges: list[Charge] = []
        self.charged: list[Entry] = []

    def add(self, limit: Limit, size: Size) -> None:
        """Ask for room in one more limit."""
        span = limit.window.at(self.now_ms)
        amount, need = size
        entry = self._before.get(limit.key) if self._before is not None else None
        if entry is None:
            entry = Entry(limit, span)
        elif entry.amount >= amount or entry.span.slot != span.slot:
            self._current.append(entry)
            return
        else:
            # A dearer step than the one before: only what it needs beyond that.
            amount -= entry.amount
            need = min(max(1, need - entry.amount), amount)
        self._current.append(entry)
        self.charged.append(entry)
        self.charges.append(Charge(limit.key, span.slot, span.first, amount, need, limit.limit, span.expires_ms))

    def granted(self, till: Till, used: Sequence[int]) -> Hold:
        """Everything was taken; `used` is what each charge's window holds now."""
        for entry, charge, total in zip(self.charged, self.charges, used, strict=True):
            entry.amount += charge.amount
            entry.used = total
        if not self._held.entries:
            return Hold(till, self.visit, self._current)
        self._held.move_on(self.visit, self._current)
        return self._held


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
