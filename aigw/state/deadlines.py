"""Waiting for a shared store's answers: each has the same time, and their number is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.errors import StateUnavailable

T = TypeVar("T")


class Deadlines:
    """
    Who waits for answers of one store. One timer serves all, since who asked first is the first to be late.

    Args:
        clock: For the timer.
        limit_s: That an answer may take.
        most: Questions that may be under way, those included that nobody waits for any more.

    Attributes:
        silent: True from an answer that is late until the next that comes.
        late: Answers that were not there in time.
        running: Questions under way.
        turned_away: Questions that were one too many, or for a store that is silent.
    """

    def __init__(self, clock: Any, limit_s: float, most: int) -> None:
        self.silent = False
        self.late = self.turned_away = self.running = 0
        self._clock = clock
        self._limit_s = limit_s
        self._most = most
        self._queue: deque[tuple[float, Deferred[Any]]] = deque()
        self._timer: Any = None

    def admit(self, available: bool) -> None:
        """
        May one more be asked?

        Args:
            available: Whether the store is in reach.
        Raises:
            StateUnavailable: No.
        """
        if available and self.running < self._most:
            return
        self.turned_away += 1
        raise StateUnavailable("too many questions wait for the store" if available else "the store is out of reach")

    def bound(self, running: Deferred[T], late: Callable[[T], None] | None = None) -> Deferred[T]:
        """
        Wait for an answer, but not for ever.

        Args:
            running: Is never cancelled: what the store was asked, it may do.
            late: Called with an answer that came when nobody waited for it any more.
        Returns:
            The answer; may be cancelled, and fails with StateUnavailable when its time is over.
        """
        asked: Deferred[T] = Deferred(_leave)

        def answered(answer: T) -> None:
            self.running -= 1
            self.silent = False
            if not asked.called:
                asked.callback(answer)
            elif late is not None:
                late(answer)

        def failed(failure: Failure) -> None:
            self.running -= 1
            if not asked.called:
                asked.errback(failure)

        self.running += 1
        running.addCallbacks(answered, failed)
        if not asked.called:
            self._queue.append((self._clock.seconds() + self._limit_s, asked))
            if self._timer is None:
                self._timer = self._clock.callLater(self._limit_s, self._expire)
        return asked

    def stop(self) -> None:
        """Turn away everybody who waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        queue, self._queue = self._queue, deque()
        for _, asked in queue:
            if not asked.called:
                asked.errback(StateUnavailable("the store was closed"))

    def _expire(self) -> None:
        self._timer = None
        queue, now = self._queue, self._clock.seconds()
        overdue = []
        while queue and (queue[0][0] <= now or queue[0][1].called):
            overdue.append(queue.popleft()[1])
        if queue:
            self._timer = self._clock.callLater(queue[0][0] - now, self._expire)
        for asked in overdue:
            if not asked.called:
                self.silent = True
                self.late += 1
                asked.errback(StateUnavailable("the store gave no answer in time"))


def _leave(_: Deferred[Any]) -> None:
    """Cancelling ends the waiting and nothing else."""
