"""Counters that several processes share: what is the same for PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from aigw.errors import StateUnavailable
from aigw.interfaces import ICounters
from aigw.serving.patience import at_most
from aigw.state.deadlines import Deadlines
from aigw.state.probe import Probe
from aigw.state.settings import StateSettings
from aigw.state.settling import Batch, Settling
from aigw.values.counting import Charge, Correction, Verdict

# Doubles, which Redis' scripts count in, are exact up to here: nine million dollars in nano-dollars. What is more
# counts as much.
MOST = 2**53 - 1


def bounded(amount: int) -> int:
    """An amount that every shared store can count."""
    return max(-MOST, min(MOST, amount))


class CounterStore(Protocol):
    """A store that is asked over a connection. Its Deferreds fail with StateUnavailable when there is no answer."""

    @property
    def available(self) -> bool:
        """Whether the connection stands."""

    def take(self, charges: Sequence[Charge]) -> Deferred[Verdict]:
        """As `ICounters.take`."""

    def read(self, charges: Sequence[Charge]) -> Deferred[tuple[int, ...]]:
        """As `ICounters.read`."""

    def settle(self, batch: Batch) -> Deferred[None]:
        """Apply a batch, unless it was applied already; with another error than StateUnavailable it never will be."""

    def probe(self) -> Deferred[Any]:
        """Fires when the store answers anything."""

    def start(self) -> None:
        """Connect, and begin what is done in the background."""

    async def stop(self) -> None:
        """End that."""


@implementer(ICounters)
class SharedCounters:
    """
    Asks a store, and waits for its answers for a bounded time.

    While the store is silent, nobody waits: one question after the other is put to it in the background, and the first
    answer opens it again.

    Args:
        store: Where the counters are.
        clock: For deadlines.
        now_ms: UTC, milliseconds since the epoch.
        settings: See there; `deadline_s`, `waiting` and `corrections` matter here.
        writer: Bytes that no other process has.
    """

    def __init__(
        self, store: CounterStore, clock: Any, now_ms: Callable[[], int], settings: StateSettings, writer: bytes
    ) -> None:
        self._store = store
        self._clock = clock
        self._now_ms = now_ms
        self._deadline_s = settings.deadline_s
        self._deadlines = Deadlines(clock, settings.deadline_s, settings.waiting)
        self._settling = Settling(clock, store.settle, writer, settings.corrections)
        self._probe = Probe(clock, self._deadlines, store.probe)

    @property
    def available(self) -> bool:
        """See `ICounters`."""
        return self._store.available and not self._deadlines.silent

    @property
    def late(self) -> int:
        """Questions without an answer in time."""
        return self._deadlines.late

    @property
    def turned_away(self) -> int:
        """Questions that were not asked: the store was out of reach, or too many waited."""
        return self._deadlines.turned_away

    @property
    def dropped(self) -> int:
        """Corrections that were given up."""
        return self._settling.dropped

    def start(self) -> None:
        """Connect; the store need not be there."""
        self._store.start()
        self._probe.start()

    async def stop(self) -> None:
        """Send what still waits, if the store takes it in time, and close."""
        await at_most(self._clock, self._settling.when_empty(), self._deadline_s if self.available else 0)
        self._settling.stop()
        self._probe.stop()
        self._deadlines.stop()
        await self._store.stop()

    def take(self, charges: Sequence[Charge]) -> Verdict | Deferred[Verdict]:
        """See `ICounters`."""
        if not charges:
            return Verdict(-1, ())
        self._deadlines.admit(self.available)
        return self._deadlines.bound(self._store.take(charges), partial(self._give_back, charges))

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...] | Deferred[tuple[int, ...]]:
        """See `ICounters`."""
        if not charges:
            return ()
        self._deadlines.admit(self.available)
        # Who has just charged a turn asks whether there is room for the next.
        sent = self._settling.when_sent()
        if sent is None:
            return self._deadlines.bound(self._store.read(charges))
        return self._deadlines.bound(sent.addCallback(lambda _: self._store.read(charges)))

    def settle(self, corrections: Sequence[Correction]) -> None:
        """See `ICounters`."""
        now_ms = self._now_ms()
        self._settling.add([each for each in corrections if each.delta and each.expires_ms > now_ms])

    def _give_back(self, charges: Sequence[Charge], verdict: Verdict) -> None:
        """Nobody waited for this verdict: no request was made with it."""
        if verdict.refused < 0:
            self.settle([Correction(each.key, each.slot, -each.amount, each.expires_ms) for each in charges])


def unavailable(store: str, error: BaseException) -> StateUnavailable:
    """
    The error for a question without an answer.

    Args:
        store: Its name.
        error: What came instead.
    """
    return error if isinstance(error, StateUnavailable) else StateUnavailable(f"{store}: {error}")
