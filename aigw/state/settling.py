"""Corrections on their way to a shared store: gathered, in order, each applied once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import StateUnavailable
from aigw.values.counting import Correction

GATHER_S = 0.02
RETRY_S = 0.5
BATCH = 500
WRITER_BYTES = 16


@attrs.frozen
class Batch:
    """
    Corrections that are applied together.

    Attributes:
        writer: Names the process among all that share the store.
        number: Grows by one from batch to batch of a writer. A store passes over one that it has seen, so that a batch
            whose answer was lost can be sent again.
        corrections: No two for the same key and slot.
    """

    writer: bytes
    number: int
    corrections: Sequence[Correction]


class Settling:
    """
    Corrections that wait, and the batch that is under way.

    Args:
        clock: For gathering, and for trying again.
        apply: Sends a batch; its Deferred fails with StateUnavailable when nobody knows whether it was applied.
        writer: Bytes that no other process has.
        most: Counters whose corrections may wait.

    Attributes:
        dropped: Corrections that found no room, or that the store did not understand.
    """

    _log = Logger()

    def __init__(self, clock: Any, apply: Callable[[Batch], Deferred[None]], writer: bytes, most: int) -> None:
        self.dropped = 0
        self._clock = clock
        self._apply = apply
        self._writer = writer
        self._most = most
        self._number = 0
        self._waiting: dict[tuple[str, int], Correction] = {}
        self._sent: Batch | None = None
        self._running: Deferred[None] | None = None
        self._timer: Any = None
        self._emptied: list[Deferred[None]] = []
        # Who waits for a batch, and for which; a later one waits for no earlier batch.
        self._behind: deque[tuple[int, Deferred[None]]] = deque()
        self._stopped = False

    def __len__(self) -> int:
        """How many counters wait for their correction."""
        return len(self._waiting) + (len(self._sent.corrections) if self._sent else 0)

    def add(self, corrections: Sequence[Correction]) -> None:
        """Apply these soon; those of one counter become one."""
        waiting = self._waiting
        for each in corrections:
            place = (each.key, each.slot)
            before = waiting.get(place)
            if before is not None:
                waiting[place] = Correction(each.key, each.slot, before.delta + each.delta, each.expires_ms)
            elif len(waiting) < self._most and not self._stopped:
                waiting[place] = each
            else:
                self.dropped += 1
        self._wake(GATHER_S)

    def when_empty(self) -> Deferred[None]:
        """Fires when nothing waits."""
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        self._tell_if_empty()
        return emptied

    def when_sent(self) -> Deferred[None] | None:
        """
        When the store has all that waits now, though more may have come since.

        Returns:
            None when nothing waits; else a Deferred, which fails with StateUnavailable at the end of the process.
        """
        if not len(self):
            return None
        sent: Deferred[None] = Deferred()
        self._behind.append((self._number + -(-len(self._waiting) // BATCH), sent))
        return sent

    def stop(self) -> None:
        """Send nothing more; what still waits is dropped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.dropped += len(self)
        self._waiting.clear()
        self._sent = None
        self._tell_if_empty()
        behind, self._behind = self._behind, deque()
        for _, each in behind:
            each.errback(StateUnavailable("the store was closed"))

    def _wake(self, delay_s: float) -> None:
        if self._timer is None and self._running is None and self._waiting and not self._stopped:
            self._timer = self._clock.callLater(delay_s, self._send)

    def _send(self) -> None:
        self._timer = None
        if self._sent is None:
            places = [place for place, _ in zip(self._waiting, range(BATCH), strict=False)]
            self._number += 1
            corrections = [self._waiting.pop(place) for place in places]
            self._sent = Batch(self._writer, self._number, corrections)
        self._running = self._apply(self._sent)
        self._running.addCallbacks(self._applied, self._failed).addErrback(self._broken)

    def _applied(self, _: None) -> None:
        self._sent = self._running = None
        self._tell_if_empty()
        self._wake(GATHER_S)
        while self._behind and self._behind[0][0] <= self._number:
            self._behind.popleft()[1].callback(None)

    def _failed(self, failure: Failure) -> None:
        self._running = None
        if self._stopped:
            return
        if failure.check(StateUnavailable):
            self._timer = self._clock.callLater(RETRY_S, self._send)
            return
        # Sent again it would be refused again, and hold up all that come behind it.
        self._log.error("The store refuses corrections: {error}", error=failure.getErrorMessage())
        self.dropped += len(self._sent.corrections) if self._sent else 0
        self._applied(None)

    def _tell_if_empty(self) -> None:
        if not len(self):
            emptied, self._emptied = self._emptied, []
            for each in emptied:
                each.callback(None)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("A defect in the corrections of counters", failure)
