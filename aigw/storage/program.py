"""A child process under the reactor."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

LAST_LINES = 12
LINE_BYTES = 2048

# PostgreSQL's names for what asks nothing of anybody: starts, stops, checkpoints. Until it has read its options, a line
# has the time and the process in front of it.
_NO_NEWS = re.compile(r"(?:\S+ \S+ \S+ \[\d+\] )?(?:DEBUG\d?|INFO|NOTICE|LOG): ")


class Program(ProcessProtocol):
    """
    A child process: what it complains about goes to the log, and its last lines into errors.

    Attributes:
        pid: Its number.
        running: Until it has ended.
        succeeded: Whether it ended with status 0.
    """

    def __init__(self, name: str) -> None:
        self.pid = 0
        self.running = True
        self.succeeded = False
        self._name = name
        self._log = Logger()
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._partial = b""
        self._waiting: list[Deferred[None]] = []

    @property
    def last_words(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._lines) or "it wrote nothing"

    def ended(self) -> Deferred[None]:
        """Fires when it has ended. Each caller gets a Deferred of its own and may cancel it."""
        waiting: Deferred[None] = Deferred()
        if self.running:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def write(self, stdin: bytes) -> None:
        """Give it its input and close that."""
        if stdin:
            self._transport.write(stdin)
        self._transport.closeStdin()

    def signal(self, name: str) -> None:
        """Send it a signal, if it still runs."""
        if self.running:
            self._transport.signalProcess(name)

    def connectionMade(self) -> None:
        """See `ProcessProtocol`."""
        transport: Any = self.transport
        self._transport = transport
        self.pid = transport.pid

    def outReceived(self, data: bytes) -> None:
        """See `ProcessProtocol`."""

    def errReceived(self, data: bytes) -> None:
        """See `ProcessProtocol`."""
        *lines, partial = (self._partial + data).split(b"\n")
        # A line without an end must not grow for ever.
        self._partial = partial[-LINE_BYTES:]
        for line in lines:
            text = line[:LINE_BYTES].decode("utf-8", "replace").rstrip()
            if not text:
                continue
            self._lines.append(text)
            if not _NO_NEWS.match(text):
                self._log.warn("{program}: {line}", program=self._name, line=text)

    def processEnded(self, reason: Failure) -> None:
        """See `ProcessProtocol`."""
        self.running = False
        self.succeeded = reason.check(ProcessDone) is not None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)
