"""Counters of one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from aigw.errors import StateUnavailable
from aigw.interfaces import ICounters
from aigw.state.row import Row
from aigw.state.settings import StateSettings
from aigw.values.counting import Charge, Correction, Verdict

SWEEP_S = 1.0
# Of budgets, which outlive a restart: until they are rebuilt nobody knows what has been spent.
REBUILT_PREFIX = "spend:"
# One rule may hold half of all counters.
SHARES = 2


@implementer(ICounters)
class MemoryCounters:
    """
    Answers at once, but for counters that have yet to be rebuilt after a start.

    Args:
        clock: For the sweep, and for waiting.
        now_ms: UTC, milliseconds since the epoch.
        settings: See there; `counters`, `rebuild_wait_s` and `waiting` matter here.
        rebuilt_prefix: Keys that begin so are not answered before `rebuilt` was called; None: all are, always.

    Attributes:
        available: False until `rebuilt` was called.
        turned_away: Questions without an answer: the store was full, or was not rebuilt in time.
        dropped: Corrections and rebuilt sums that found the store full.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        now_ms: Callable[[], int],
        settings: StateSettings | None = None,
        rebuilt_prefix: str | None = None,
    ) -> None:
        settings = settings or StateSettings()
        self.available = rebuilt_prefix is None
        self.turned_away = self.dropped = 0
        self._clock = clock
        self._now_ms = now_ms
        self._most = settings.counters
        self._wait_s = settings.rebuild_wait_s
        self._waiting = settings.waiting
        self._prefix = rebuilt_prefix or ""
        self._rows: dict[str, Row] = {}
        # One entry for each slot, the first to expire on top; how many there are is what the store's bound counts.
        self._expiries: list[tuple[int, str, int]] = []
        # The same for each rule: whoever makes up values for one must not take the room of the others.
        self._share = -(-settings.counters // SHARES)
        self._held: Counter[str] = Counter()
        self._waits: dict[Deferred[None], Any] = {}
        self._sweeping = LoopingCall(self.sweep)
        self._sweeping.clock = clock

    def start(self) -> None:
        """Begin to forget what has expired."""
        self._sweeping.start(SWEEP_S, now=False).addErrback(
            lambda failure: self._log.failure("A defect in the sweep of counters", failure)
        )

    def stop(self) -> None:
        """End the sweep, and turn away who still waits."""
        if self._sweeping.running:
            self._sweeping.stop()
        for wait in list(self._waits):
            self._give_up(wait)

    def __len__(self) -> int:
        """How many slots are held."""
        return len(self._expiries)

    def crowded(self) -> list[str]:
        """Why new counters are turned away, if they are: the store is full, or some rules have their share."""
        if len(self._expiries) >= self._most:
            return [f"counters are full: {len(self._expiries)}"]
        return [f"counters of {rule} are full: {held}" for rule, held in self._held.items() if held >= self._share]

    # ICounters --------------------------------------------------------------------------------------------------------

    def take(self, charges: Sequence[Charge]) -> Verdict | Deferred[Verdict]:
        """See `ICounters`."""
        if not self.available and self._must_wait(charges):
            return self._when_rebuilt().addCallback(lambda _: self._take(charges))
        return self._take(charges)

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...] | Deferred[tuple[int, ...]]:
        """See `ICounters`."""
        if not self.available and self._must_wait(charges):
            return self._when_rebuilt().addCallback(lambda _: self._read(charges))
        return self._read(charges)

    def settle(self, corrections: Sequence[Correction]) -> None:
        """See `ICounters`."""
        rows, now_ms = self._rows, self._now_ms()
        for correction in corrections:
            row = rows.get(correction.key)
            if row is not None and correction.slot in row.slots:
                row.add(correction.slot, correction.delta)
            elif correction.delta > 0 and correction.expires_ms > now_ms:
                self._put(correction)

    # What a start rebuilds --------------------------------------------------------------------------------------------

    def load(self, sums: Iterable[Correction]) -> None:
        """
        Add what is known from before this process began.

        Args:
            sums: Each with the sum of a slot as its `delta`.
        """
        self.settle(list(sums))

    def rebuilt(self) -> None:
        """Everything was loaded: answer those who wait."""
        self.available = True
        waits, self._waits = self._waits, {}
        for wait, overdue in waits.items():
            overdue.cancel()
            wait.callback(None)

    def sweep(self) -> None:
        """Forget what has expired."""
        now_ms, expiries, rows = self._now_ms(), self._expiries, self._rows
        while expiries and expiries[0][0] <= now_ms:
            _, key, slot = heappop(expiries)
            self._release(_rule(key))
            row = rows[key]
            row.drop(slot)
            if not row.slots:
                del rows[key]

    # ------------------------------------------------------------------------------------------------------------------

    def _take(self, charges: Sequence[Charge]) -> Verdict:
        rows = self._rows
        held: list[int] = []
        missing = 0
        for charge in charges:
            row = rows.get(charge.key)
            if row is None:
                used = 0
                missing += 1
            else:
                slot = charge.slot
                alone = row.slots.get(slot)
                if alone is None:
                    missing += 1
                used = (alone or 0) if charge.first == slot else row.sum(charge.first, slot)
            if used + charge.need > charge.limit:
                return self._refusal(charges, len(held), row)
            held.append(used + charge.amount)
        if missing:
            self._make_room([each for each in charges if not self._has(each)])
        for charge in charges:
            row = rows.get(charge.key)
            if row is not None and charge.slot in row.slots:
                row.slots[charge.slot] += charge.amount
                row.total += charge.amount
            else:
                self._open(charge.key, charge.slot, charge.amount, charge.expires_ms)
        return Verdict(-1, tuple(held))

    def _refusal(self, charges: Sequence[Charge], refused: int, row: Row | None) -> Verdict:
        charge = charges[refused]
        oldest = charge.slot if row is None else row.oldest_used(charge.first, charge.slot)
        return Verdict(refused, self._read(charges), oldest)

    def _read(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        rows = self._rows
        return tuple(row.sum(each.first, each.slot) if (row := rows.get(each.key)) else 0 for each in charges)

    def _make_room(self, missing: Sequence[Charge]) -> None:
        """
        See that there is room; forget what has expired since the last sweep when there is none.

        Raises:
            StateUnavailable: It was not enough.
        """
        if self._is_full(missing):
            self.sweep()
            full = self._is_full(missing)
            if full:
                self.turned_away += 1
                raise StateUnavailable(full)

    def _is_full(self, missing: Sequence[Charge]) -> str:
        """Why there is no room, empty when there is."""
        if len(self._expiries) + len(missing) > self._most:
            return f"as many counters are held as state.counters allows ({self._most})"
        held, share = self._held, self._share
        if any(held[_rule(each.key)] >= share for each in missing):
            return f"a rule holds its half of the counters that state.counters allows ({self._most})"
        return ""

    def _has(self, charge: Charge) -> bool:
        row = self._rows.get(charge.key)
        return row is not None and charge.slot in row.slots

    def _put(self, correction: Correction) -> None:
        if len(self._expiries) < self._most and self._held[_rule(correction.key)] < self._share:
            self._open(correction.key, correction.slot, correction.delta, correction.expires_ms)
        else:
            self.dropped += 1

    def _open(self, key: str, slot: int, amount: int, expires_ms: int) -> None:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row()
        row.put(slot, amount)
        heappush(self._expiries, (expires_ms, key, slot))
        self._held[_rule(key)] += 1

    def _release(self, rule: str) -> None:
        self._held[rule] -= 1
        if not self._held[rule]:
            del self._held[rule]

    # Waiting for the rebuild ------------------------------------------------------------------------------------------

    def _must_wait(self, charges: Sequence[Charge]) -> bool:
        return any(each.key.startswith(self._prefix) for each in charges)

    def _when_rebuilt(self) -> Deferred[None]:
        if len(self._waits) >= self._waiting:
            self.turned_away += 1
            raise StateUnavailable("as many requests wait for their counters as state.waiting allows")
        wait: Deferred[None] = Deferred(self._left)
        self._waits[wait] = self._clock.callLater(self._wait_s, self._give_up, wait)
        return wait

    def _left(self, wait: Deferred[None]) -> None:
        self._waits.pop(wait).cancel()

    def _give_up(self, wait: Deferred[None]) -> None:
        overdue = self._waits.pop(wait)
        if overdue.active():
            overdue.cancel()
        self.turned_away += 1
        wait.errback(StateUnavailable("the counters were not rebuilt in time"))


def _rule(key: str) -> str:
    """What the counters of one rule have in common: their values follow a bar."""
    return key.partition("|")[0]
