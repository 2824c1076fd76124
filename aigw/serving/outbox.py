"""What leaves by one connection: a queue for each stream, taken in turn, stopped when the reader is slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Outbox:
    """
    The one way out of a connection.

    While the transport takes bytes, a message goes out at once, in the order of the calls. While it does not, messages
    wait in the queue of their stream, and when it takes bytes again every stream gives one message a turn, so that a
    long answer does not hold up a short one.

    Args:
        write: Sends one message; may call `pauseProducing` before it returns.
        pause: Called once when the reader has become slow: stop what feeds this connection.
        resume: Called once when it has caught up and nothing waits any more.

    Attributes:
        paused: Whether messages wait.
        waiting_bytes: Length of those that do, without the transport's own buffer.
        emptied: How often the reader has emptied a full buffer.
    """

    def __init__(self, write: Callable[[bytes], None], pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._write = write
        self._pause = pause
        self._resume = resume
        self._turns: deque[OutStream] = deque()
        self._closed = False
        self.paused = False
        self.waiting_bytes = 0
        self.emptied = 0

    def stream(self) -> OutStream:
        """A new stream; it costs nothing until something of it has to wait."""
        return OutStream(self)

    def pauseProducing(self) -> None:
        """The transport's buffer is full. Comes many times for one pause."""
        if not self.paused:
            self.paused = True
            self._pause()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if not self.paused or self._closed:
            return
        self.paused = False
        self.emptied += 1
        self._drain()
        # `_drain` may have filled the buffer again; then its sources stay stopped, and were not told anything new.
        if not self.paused:
            self._resume()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self.close()

    def close(self) -> None:
        """Forget what waits; whatever is put from now on goes nowhere."""
        self._closed = True
        self.waiting_bytes = 0
        for stream in self._turns:
            stream.waiting.clear()
        self._turns.clear()

    def put(self, stream: OutStream, message: bytes) -> None:
        """Send a message of a stream, or let it wait behind the stream's earlier ones."""
        if self._closed:
            return
        if not self.paused and not stream.waiting:
            self._write(message)
            return
        if not stream.waiting:
            self._turns.append(stream)
        stream.waiting.append(message)
        self.waiting_bytes += len(message)

    def _drain(self) -> None:
        turns = self._turns
        # A pause in the middle of this must not be told to the sources a second time: they are still stopped.
        tell, self._pause = self._pause, _nothing
        try:
            while turns and not self.paused:
                stream = turns.popleft()
                message = stream.waiting.popleft()
                if stream.waiting:
                    turns.append(stream)
                self.waiting_bytes -= len(message)
                self._write(message)
        finally:
            self._pause = tell


def _nothing() -> None:
    """Stand in for `pause` while the sources are stopped anyway."""


class OutStream:
    """
    The messages of one exchange, in their order.

    Args:
        outbox: Of the connection that they leave by.
    """

    __slots__ = ("_outbox", "waiting")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.waiting: deque[bytes] = deque()

    def put(self, message: bytes) -> None:
        """Send a message, or queue it while the reader is slow."""
        self._outbox.put(self, message)
