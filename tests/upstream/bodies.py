"""Bodies that are produced while they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class HandBody:
    """
    A body that the test makes by hand.

    Attributes:
        told: Names of the calls, in order: `start`, `pause`, `resume`, `stop`.
    """

    def __init__(self, length: int | None = None) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self.told: list[str] = []
        self.done: Deferred[None] = Deferred()
        self._consumer: IConsumer | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.told.append("start")
        self._consumer = consumer
        return self.done

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")

    def make(self, *pieces: bytes) -> None:
        """More of the body has come."""
        assert self._consumer is not None
        for piece in pieces:
            self._consumer.write(piece)


@implementer(IBodyProducer)
class FloodBody:
    """
    So many bytes, made as fast as they are taken.

    Attributes:
        made_bytes: How many were.
        paused, stopped: What it was told.
        at: Called with itself after each piece.
    """

    def __init__(self, total_bytes: int, known: bool = True, piece: bytes = b"x" * 65_536) -> None:
        self.length = total_bytes if known else UNKNOWN_LENGTH
        self.made_bytes = 0
        self.paused = False
        self.stopped = False
        self.at: Callable[[FloodBody], object] = lambda _: None
        self.done: Deferred[None] = Deferred()
        self._left_bytes = total_bytes
        self._piece = piece
        self._consumer: Any = None
        self._turn: Any = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._next()
        return self.done

    def _next(self) -> None:
        self._turn = None
        piece = self._piece[: self._left_bytes]
        self._left_bytes -= len(piece)
        self.made_bytes += len(piece)
        self._consumer.write(piece)
        self.at(self)
        if self.stopped or self.done.called:
            return
        if not self._left_bytes:
            self.done.callback(None)
        elif not self.paused:
            self._turn = reactor.callLater(0, self._next)  # type: ignore[attr-defined]  # the reactor module is one

    def _halt(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()

    def fail(self, error: Exception) -> None:
        """There will be no more of it."""
        self._halt()
        self.done.errback(error)

    def pauseProducing(self) -> None:
        self.paused = True
        self._halt()

    def resumeProducing(self) -> None:
        self.paused = False
        self._next()

    def stopProducing(self) -> None:
        self.stopped = True
        self._halt()
