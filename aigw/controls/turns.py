"""Turns of a realtime session: charged when they are over, and judged by what is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.controls.entry import Entry
from aigw.controls.refusals import passes, refusal, unavailable
from aigw.controls.visit import Visit
from aigw.errors import GatewayError, StateUnavailable
from aigw.interfaces import ICounters
from aigw.values.counting import Charge, Correction


def charge_turn(entry: Entry, amount: int, now_ms: int) -> Iterable[Correction]:
    """
    Charge an entry; a turn counts in the window in which it ends.

    Args:
        entry: Of the session.
        amount: That the turn used, in the limit's unit.
        now_ms: UTC, milliseconds since the epoch.
    Returns:
        What is to be corrected in the counters.
    """
    span = entry.limit.window.at(now_ms)
    if span.slot != entry.span.slot:
        if entry.real != entry.amount:
            yield entry.correction(entry.real)
        if entry.real and entry.limit.unit == "usd":
            entry.past = (
                *(one for one in entry.past if one.expires_ms > now_ms),
                entry.charged(entry.real),
            )
        entry.span = span
        entry.amount = entry.real = 0
    entry.real += amount
    if entry.real > entry.amount:
        yield entry.correction(entry.real)
        entry.amount = entry.real


def judge(
    counters: ICounters, visit: Visit, entries: Sequence[Entry], now_ms: int
) -> GatewayError | Deferred[GatewayError | None] | None:
    """
    Whether limits that a turn was charged to have room left.

    Args:
        counters: See there.
        visit: The session.
        entries: Of these limits.
        now_ms: UTC, milliseconds since the epoch.
    Returns:
        Why the session must end, None when it may go on; a Deferred of it when the counters are elsewhere.
    """
    charges = [
        Charge(entry.limit.key, entry.span.slot, entry.limit.window.at(now_ms).first, 1, 1, entry.limit.limit, 0)
        for entry in entries
    ]

    def judged(sums: Sequence[int]) -> GatewayError | None:
        for entry, used in zip(entries, sums, strict=True):
            # What is held for turns to come is not spent yet.
            used -= entry.amount - entry.real
            if used >= entry.limit.limit:
                return refusal(entry.limit, visit, used, entry.limit.window.reset_s(now_ms))
        return None

    def away(failure: Failure) -> GatewayError | None:
        failure.trap(StateUnavailable)
        return _away(visit, entries)

    try:
        sums = counters.read(charges)
    except StateUnavailable:
        return _away(visit, entries)
    if isinstance(sums, Deferred):
        return sums.addCallbacks(judged, away)
    return judged(sums)


def _away(visit: Visit, entries: Sequence[Entry]) -> GatewayError | None:
    return None if all(passes(entry.limit, visit) for entry in entries) else unavailable()
