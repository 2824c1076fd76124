"""Questions to all workers at once, one round at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from aigw.workers.messages import Tell
from aigw.workers.process import WorkerProcess

# Who has not reported by then is left out, or counted with its last report.
REPORT_S = 1.0


class Asking:
    """
    Asks for reports. Who asks while a round is under way shares it.

    Args:
        clock: For the deadline.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._round = 0
        self._missing: set[WorkerProcess] = set()
        self._waiting: list[Deferred[None]] = []
        self._deadline: IDelayedCall | None = None

    def ask(self, processes: Iterable[WorkerProcess]) -> Deferred[None]:
        """
        Ask them all.

        Returns:
            Fires when each has answered or is gone, at the latest after `REPORT_S`. It may be cancelled.
        """
        asked: Deferred[None] = Deferred()
        self._waiting.append(asked)
        if self._deadline is None:
            self._round += 1
            self._missing = set(processes)
            self._deadline = self._clock.callLater(REPORT_S, self._over)
            for process in self._missing:
                process.send(Tell(self._round))
            self._look()
        return asked

    def answered(self, process: WorkerProcess, round_: int) -> None:
        """A report has come."""
        if round_ == self._round:
            self.left(process)

    def left(self, process: WorkerProcess) -> None:
        """Wait for this one no more."""
        self._missing.discard(process)
        self._look()

    def _look(self) -> None:
        if not self._missing and self._deadline is not None:
            self._deadline.cancel()
            self._over()

    def _over(self) -> None:
        self._deadline = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
