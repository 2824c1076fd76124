"""A worker's end of the pipes to its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.workers.messages import REPORTS, Frames, ToParent, ToWorker, framed, to_worker


@implementer(IPushProducer)
class ParentLink(Protocol):
    """
    Messages from and to the parent.

    Args:
        heard: Called with each message.
        lost: Called when the parent is gone.

    Attributes:
        paused: Whether the parent does not read: what need not be sent should not be.
    """

    def __init__(self, heard: Callable[[ToWorker], None], lost: Callable[[], None]) -> None:
        self.paused = False
        self._heard = heard
        self._lost = lost
        self._frames = Frames()

    def open(self, reactor: Any) -> None:
        """Begin to listen."""
        opening: Any = StandardIO
        opening(self, stdin=0, stdout=REPORTS, reactor=reactor)

    def send(self, message: ToParent) -> None:
        """Tell the parent something; nobody hears it when the parent is gone."""
        if self.transport is not None:
            self.transport.write(framed(message))

    def connectionMade(self) -> None:
        """See `Protocol`."""
        transport: Any = self.transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        for payload in self._frames.feed(data):
            self._heard(to_worker.decode(payload))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._lost()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = False

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
