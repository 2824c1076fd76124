"""The parent's end of one worker."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from signal import Signals
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.workers.messages import REPORTS, Frames, ToParent, ToWorker, framed, to_parent
from aigw.workers.reports import Report

# A longer line of the worker's log is cut there.
_LINE_BYTES = 65_536


class Standing(enum.Enum):
    """How far a worker has come."""

    STARTING = "is being started"
    SERVING = "serves"
    LEAVING = "is stopping"
    GONE = "is gone"


class WorkerProcess(ProcessProtocol):
    """
    One process.

    Args:
        number: Its place, from 1; whoever comes after it has the same.
        heard: Called with this and each message.
        ended: Called with this when the process is gone, and all that it wrote was read.

    Attributes:
        standing: See there.
        report: The last one; None before the first.
        served: Whether it has ever accepted connections.
        why: What became of it, once it is gone or has said why it cannot run.
    """

    _log = Logger()

    def __init__(
        self,
        number: int,
        heard: Callable[[WorkerProcess, ToParent], None],
        ended: Callable[[WorkerProcess], None],
    ) -> None:
        self.number = number
        self.standing = Standing.STARTING
        self.report: Report | None = None
        self.served = False
        self.why = ""
        self._heard = heard
        self._ended = ended
        self._frames = Frames()
        self._lines = {1: b"", 2: b""}
        self._writable = False

    @property
    def pid(self) -> int:
        """Of the process; 0 when it has ended."""
        transport: Any = self.transport
        return 0 if transport is None else transport.pid or 0

    def send(self, message: ToWorker) -> None:
        """Tell it something, unless it is gone."""
        transport: Any = self.transport
        if self._writable:
            transport.writeToChild(0, framed(message))

    def kill(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.pid:
            os.kill(self.pid, number)

    # ProcessProtocol ------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """See `ProcessProtocol`."""
        self._writable = True

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Messages, and lines for the log."""
        if childFD != REPORTS:
            self._log_lines(childFD, data)
            return
        for payload in self._frames.feed(data):
            self._heard(self, to_parent.decode(payload))

    def childConnectionLost(self, childFD: int) -> None:
        """See `ProcessProtocol`."""
        if childFD == 0:
            self._writable = False

    def processEnded(self, reason: Failure) -> None:
        """The process is gone."""
        self._writable = False
        for descriptor in self._lines:
            self._log_lines(descriptor, b"\n")
        value: Any = reason.value
        if not self.why:
            signal = getattr(value, "signal", None)
            self.why = (
                "it has stopped in order"
                if isinstance(value, ProcessDone)
                else f"it was ended by {Signals(signal).name}"
                if signal
                else f"it has ended with exit code {value.exitCode}"
            )
        self.standing = Standing.GONE
        self._ended(self)

    def _log_lines(self, descriptor: int, data: bytes) -> None:
        *lines, rest = (self._lines[descriptor] + data).split(b"\n")
        self._lines[descriptor] = rest[:_LINE_BYTES]
        for line in filter(None, lines):
            self._log.info("worker {number} {line}", number=self.number, line=line.decode("utf-8", "replace"))
