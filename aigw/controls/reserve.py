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
        return self.take_from(self.limits_of(visit), visit, held)

    def limits_of(self, visit: Visit) -> Sequence[Limit]:
        """
        The limits that hold for a step, no two with the same key.

        Raises:
            GatewayError: Nobody can say which, and the owner wants such a step refused.
        """
        limits: list[Limit] = []
        for limits_of in self._sources:
            found = limits_of(visit)
            if found:
                limits += found
        return _by_key(limits) if limits else ()

    def take_from(self, limits: Sequence[Limit], visit: Visit, held: Hold) -> Hold | Deferred[Hold]:
        """As `take`, from limits that `limits_of` gave for such a step."""
        if limits:
            return self._take(visit, held, limits)
        if held.entries:
            held.move_on(visit, ())
        return held

    def _take(self, visit: Visit, held: Hold, limits: Sequence[Limit]) -> Hold | Deferred[Hold]:
        bid = _Bid(visit, held, limits)
        amounts: dict[Unit, int] = {}
        for limit in bid.limits:
            if limit.unit not in amounts:
                amounts[limit.unit] = 1 if limit.unit == "requests" else self._amount(visit, limit.unit)
        if "usd" in amounts:
            self._counts["spend_limit"] += 1
        if len(amounts) > 1 or "usd" not in amounts:
            self._counts["rate_limit"] += 1
        return self._put(bid, amounts, amounts)

    def _amount(self, visit: Visit, unit: Unit) -> int:
        estimates = self._till.estimates
        return estimates.amount(visit, unit, estimates.usage(visit))

    def _put(self, bid: _Bid, amounts: dict[Unit, int], needs: dict[Unit, int]) -> Hold | Deferred[Hold]:
        """Take amounts by their units, where the needs of these units fit."""
        bid.size(self._till.utc_ms(), amounts, needs)
        if not bid.charges:
            return bid.granted(self._till, ())
        try:
            verdict = self._till.counters.take(bid.charges)
        except StateUnavailable:
            return self._without(bid)
        if isinstance(verdict, Deferred):
            judged = partial(self._judged, bid, amounts, needs)
            return verdict.addCallbacks(judged, partial(self._failed, bid))
        return self._judged(bid, amounts, needs, verdict)

    def _judged(
        self, bid: _Bid, amounts: dict[Unit, int], needs: dict[Unit, int], verdict: Verdict
    ) -> Hold | Deferred[Hold]:
        if verdict.refused < 0:
            return bid.granted(self._till, verdict.used)
        if needs is amounts and any(unit != "requests" for unit in amounts):
            # Mostly all of it fits, and nobody has to ask how little would do.
            return self._put(bid, amounts, self._needs(bid.visit, amounts))
        entry = bid.charged[verdict.refused]
        entry.used = verdict.used[verdict.refused]
        if self._till.watch is not None:
            self._till.watch.changed(bid.visit.gateway, (entry,))
        retry_after_s = entry.limit.window.retry_after_s(bid.now_ms, verdict.oldest)
        raise refusal(entry.limit, bid.visit, entry.used, retry_after_s)

    def _needs(self, visit: Visit, amounts: dict[Unit, int]) -> dict[Unit, int]:
        estimates = self._till.estimates
        usage = estimates.usage(visit)
        return {unit: min(amount, estimates.need(visit, unit, usage)) for unit, amount in amounts.items()}

    # Without counters -----------------------------------------------------------------------------------------------

    def _failed(self, bid: _Bid, failure: Failure) -> Hold | Deferred[Hold]:
        failure.trap(StateUnavailable)
        return self._without(bid)

    def _without(self, bid: _Bid) -> Hold | Deferred[Hold]:
        """The counters cannot be reached: do what the owner chose."""
        # Counters of money may be on their way back from the log while all others are there.
        money = [limit for limit in bid.limits if limit.unit == "usd"]
        others = [limit for limit in bid.limits if limit.unit != "usd"] if money else []
        if not all(passes(limit, bid.visit) for limit in (money or bid.limits)):
            self.unavailable += 1
            raise unavailable()
        self.uncounted += 1
        return self._take(bid.visit, bid.held, others) if others else bid.held


class _Bid:
    """
    What one step asks of its limits.

    Args:
        visit, held: See `Reserve.take`.
        limits: No two with the same key.

    Attributes:
        visit, held, limits: As given.
        now_ms: When it was put; UTC, milliseconds since the epoch.
        charges: What is to be taken.
        charged: The entry of each charge.
    """

    __slots__ = ("_current", "charged", "charges", "held", "limits", "now_ms", "visit")

    def __init__(self, visit: Visit, held: Hold, limits: Sequence[Limit]) -> None:
        self.visit = visit
        self.held = held
        self.limits = limits
        self.now_ms = 0
        self._current: list[Entry] = []
        self.charges: list[Charge] = []
        self.charged: list[Entry] = []

    def size(self, now_ms: int, amounts: dict[Unit, int], needs: dict[Unit, int]) -> None:
        """Make the charges, in place of those that were made before."""
        self.now_ms = now_ms
        if not self.held.entries:
            self._size_first(now_ms, amounts, needs)
            return
        before = {entry.limit.key: entry for entry in self.held.entries} if self.held.entries else None
        self._current, self.charged, self.charges = [], [], []
        for limit in self.limits:
            span = limit.window.at(now_ms)
            amount, need = amounts[limit.unit], needs[limit.unit]
            entry = before.get(limit.key) if before is not None else None
            if entry is None:
                entry = Entry(limit, span)
            elif entry.amount >= amount or entry.span.slot != span.slot:
                self._current.append(entry)
                continue
            else:
                # A dearer step than the one before: only what it needs beyond that.
                amount -= entry.amount
                need = min(max(1, need - entry.amount), amount)
            self._current.append(entry)
            self.charged.append(entry)
            self.charges.append(Charge(limit.key, span.slot, span.first, amount, need, limit.limit, span.expires_ms))

    def _size_first(self, now_ms: int, amounts: dict[Unit, int], needs: dict[Unit, int]) -> None:
        """As `size`, for an exchange that holds nothing yet, as nearly all do."""
        self._current = self.charged = entries = []
        self.charges = charges = []
        for limit in self.limits:
            span, unit = limit.window.at(now_ms), limit.unit
            entries.append(Entry(limit, span))
            charges.append(
                Charge(limit.key, span.slot, span.first, amounts[unit], needs[unit], limit.limit, span.expires_ms)
            )

    def granted(self, till: Till, used: Sequence[int]) -> Hold:
        """Everything was taken; `used` is what each charge's window holds now."""
        for index, entry in enumerate(self.charged):
            entry.amount += self.charges[index].amount
            entry.used = used[index]
        if not self.held.entries:
            return Hold(till, self.visit, self._current)
        self.held.move_on(self.visit, self._current)
        return self.held


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
