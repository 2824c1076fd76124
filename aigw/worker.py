"""
What a worker's process runs: `python -m aigw.worker REACTOR`, started by its parent and by nobody else.

It talks to its parent over standard input and the descriptor after standard error; what it logs goes to standard
error, and its parent has it in its own log. When standard input ends, the parent is gone, and so is the worker soon.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import FileLogObserver, Logger, eventAsText, globalLogBeginner
from twisted.python.failure import Failure

from aigw.assembly.worker import ServingNode
from aigw.errors import AigwError
from aigw.workers.link import ParentLink
from aigw.workers.messages import Drain, Failed, ToWorker, Welcome

# Nobody will ask for this process's answers; its listening sockets must be free for the next parent soon.
ORPHAN_DRAIN_S = 1.0


class Worker:
    """
    The process.

    Args:
        reactor: Runs everything.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._link = ParentLink(self._heard, self._orphaned)
        self._node: ServingNode | None = None
        self._boot: Deferred[None] | None = None
        self._stopping = False
        self._code = 0

    def start(self) -> None:
        """Listen to the parent."""
        # A terminal sends these to all of its processes; the parent says what is to be done.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._signalled)
        self._link.open(self._reactor)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop)

    def _heard(self, message: ToWorker) -> None:
        if isinstance(message, Welcome):
            node = self._node = ServingNode(
                *(self._reactor, message, self._link.send, self._failed), lambda: not self._link.paused
            )
            self._boot = Deferred.fromCoroutine(node.boot())
            self._boot.addErrback(self._failed)
        elif isinstance(message, Drain):
            self._stop()
        elif self._node is not None:
            self._node.hear(message)

    def _orphaned(self) -> None:
        if self._stopping:
            # The parent was asked to stop a second time, or killed: it waits for nothing, and neither does this.
            self._leave()
        if self._node is not None:
            self._node.drain_s = min(self._node.drain_s, ORPHAN_DRAIN_S)
        self._stop()

    def _failed(self, failure: Failure) -> None:
        """The worker cannot run: tell the parent why, and leave nothing running."""
        if self._stopping:
            return
        if failure.check(AigwError, OSError, CannotListenError):
            self._link.send(Failed(failure.getErrorMessage()))
        else:
            self._log.failure("the worker could not start", failure=failure)
            self._link.send(Failed("it could not start; its log says why"))
        self._code = 1
        self._stop()

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._boot is not None:
            self._boot.cancel()
        if self._node is None:
            self._leave()
        else:
            done = Deferred.fromCoroutine(self._node.drain())
            done.addErrback(lambda failure: self._log.failure("the worker could not stop in order", failure=failure))
            # The last report, and the reason of a failure, are still on their way.
            done.addCallback(lambda _: self._reactor.callLater(0, self._leave))

    def _leave(self) -> None:
        if self._node is not None:
            self._node.flush_now()
        sys.stderr.flush()
        os._exit(self._code)


def main() -> None:
    """Run until the parent is gone or says so."""
    globalLogBeginner.beginLoggingTo([FileLogObserver(sys.stderr, _line)], redirectStandardIO=False)
    from twisted.internet import reactor as installed

    reactor: Any = installed
    # As in the parent: twisted would tell timers the wall clock.
    reactor.seconds = time.monotonic
    reactor.callWhenRunning(Worker(reactor).start)
    reactor.run()


def _line(event: Any) -> str:
    """One event for the parent's log, which has the time already."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=True)
    return f"{text}\n" if text else ""


if __name__ == "__main__":
    importlib.import_module(sys.argv[1]).install()
    main()
