"""Work that waits for the end of the present turn of the reactor, so that many requests share one write."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

# Calls of one run; what is more waits for the next, so that a circle of calls does not keep the sockets from theirs.
MOST_CALLS = 10_000


class Turn:
    """
    Calls back when everything that the present turn brought has been handled.

    What is asked for in the middle of a run belongs to that run: a record that is written releases a request, and the
    request leaves in the same turn.

    Args:
        clock: The reactor.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[Callable[[], object]] = []
        self._awake = False

    def soon(self, call: Callable[[], object]) -> None:
        """Call back once, behind all calls that were asked for before."""
        self._calls.append(call)
        if not self._awake:
            self._awake = True
            self._clock.callLater(0, self._run)

    def _run(self) -> None:
        calls = self._calls
        done = 0
        # The list grows while it is walked.
        for call in calls:
            done += 1
            try:
                call()
            except Exception:
                # The other calls of this turn belong to other requests.
                self._log.failure("A call at the end of a turn failed")
            if done >= MOST_CALLS:
                break
        del calls[:done]
        self._awake = bool(calls)
        if calls:
            self._clock.callLater(0, self._run)
