"""A request's body as an agent gets it: held in memory, or produced while it is sent."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.logger import Logger
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer


def _nothing() -> None:
    """For a caller that does not ask."""


@implementer(IBodyProducer)
class HeldBody:
    """
    A body that is in memory, and whoever wants to know how it fares.

    Args:
        payload: The bytes.
        opened: Called when the request is written to an open and verified connection; again when it is sent again.
        sent: Called later when a body, too large to be written at once, has left for the kernel.
    Attributes:
        length: Of the payload, in bytes.
    """

    __slots__ = ("length", "opened", "payload", "sent")

    def __init__(
        self, payload: bytes, opened: Callable[[], None] = _nothing, sent: Callable[[], None] = _nothing
    ) -> None:
        self.payload = payload
        self.length = len(payload)
        self.opened = opened
        self.sent = sent

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """For agents other than ours, which write `payload` themselves."""
        self.opened()
        consumer.write(self.payload)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to hold back."""

    def resumeProducing(self) -> None:
        """Nothing is left to send."""

    def stopProducing(self) -> None:
        """Nothing runs that could be stopped."""


@implementer(IBodyProducer)
class StreamedBody:
    """
    A body that comes while it is sent, and whoever wants to know how it fares. It can be sent only once.

    Its producer hears `stopProducing` at most once, but also when it was never started; nothing comes after it, nor
    after the producer has finished.

    Args:
        producer: Makes the bytes.
        flowing: Called when the request is on an open and verified connection, and each time when the provider takes
            the body again.
        blocked: Called when the provider takes no more of the body for now.
        sent: Called when all of it has left for the kernel, but for a small rest.
    Attributes:
        length: In bytes, or `UNKNOWN_LENGTH`.
    """

    _log = Logger()

    __slots__ = ("_over", "_producer", "blocked", "flowing", "length", "sent")

    def __init__(
        self,
        producer: IBodyProducer,
        flowing: Callable[[], None] = _nothing,
        blocked: Callable[[], None] = _nothing,
        sent: Callable[[], None] = _nothing,
    ) -> None:
        self._producer = producer
        self._over = False
        self.length: int | object = producer.length
        self.flowing = flowing
        self.blocked = blocked
        self.sent = sent

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Start the producer; see `IBodyProducer`."""
        return self._producer.startProducing(consumer)  # type: ignore[no-any-return]  # the interface is untyped

    def finish(self) -> None:
        """The producer has made its last byte, or failed: it is told nothing more."""
        self._over = True

    def pauseProducing(self) -> None:
        """Make no more for now."""
        if not self._over:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        if not self._over:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Make no more at all."""
        if self._over:
            return
        self._over = True
        try:
            self._producer.stopProducing()
        except Exception:
            # It comes in the middle of a call's end, which must go on.
            self._log.failure("The producer of a body could not be stopped")


def sendable(body: IBodyProducer | None) -> HeldBody | StreamedBody:
    """A body as a connection can send it."""
    if body is None:
        return HeldBody(b"")
    return body if isinstance(body, HeldBody | StreamedBody) else StreamedBody(body)


def announced(body: HeldBody | StreamedBody) -> int | None:
    """A body's length in bytes, None when only its end will tell."""
    return None if body.length is UNKNOWN_LENGTH else int(body.length)  # type: ignore[call-overload]  # a number else
