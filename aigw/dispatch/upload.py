"""A request body that passes through without being held: a big file on its way from a client to a provider."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from aigw.dispatch.capture import Capture
from aigw.errors import ClientGone
from aigw.serving.http import IBodySink

# What may come before the provider is reached; beyond it the client is asked to wait.
EARLY_BYTES = 65_536


@implementer(IBodySink, IBodyProducer)
class Upload:
    """
    Hands a body on, piece by piece, and keeps its beginning for the log.

    Args:
        length: In bytes, None when only its end will tell.
        log_bytes: How much is kept.
        pause: Stop reading from the client.
        resume: Go on reading from the client.
    """

    def __init__(
        self, length: int | None, log_bytes: int, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self.capture = Capture(log_bytes)
        self._pause = pause
        self._resume = resume
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._finished = False
        self._dropped = False
        self._is_lost = False
        # Whether the provider takes no more for now.
        self._is_full = False

    # From the client ------------------------------------------------------------------------------------------------

    def write(self, chunk: bytes) -> None:
        """A piece has come."""
        self.capture.add(chunk)
        if self._dropped:
            return
        if self._consumer is not None:
            self._consumer.write(chunk)
            return
        self._early.append(chunk)
        self._early_bytes += len(chunk)
        if self._early_bytes >= EARLY_BYTES:
            self._pause()

    def finish(self) -> None:
        """The body is whole."""
        self._finished = True
        if self._consumer is not None and not self._dropped:
            self._settle()

    def lost(self) -> None:
        """The client left in the middle: the provider must not take what came for the whole."""
        if not self._finished and not self._dropped:
            self._dropped = self._is_lost = True
            self._early.clear()
            done, self._done = self._done, None
            if done is not None:
                done.errback(ClientGone())

    def _settle(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)

    # From the provider's side ---------------------------------------------------------------------------------------

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Give what has come, then the rest as it comes; `ClientGone` when the client leaves before its end."""
        if self._is_lost:
            return fail(ClientGone())
        self._consumer = consumer
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._done = done
        early, self._early = self._early, []
        for chunk in early:
            consumer.write(chunk)
        if self._finished:
            self._settle()
        elif self._early_bytes >= EARLY_BYTES and not self._is_full:
            self._resume()
        return done

    def pauseProducing(self) -> None:
        """The provider takes no more for now."""
        self._is_full = True
        if not self._finished and not self._dropped:
            self._pause()

    def resumeProducing(self) -> None:
        """The provider takes more."""
        self._is_full = False
        if not self._finished and not self._dropped:
            self._resume()

    def stopProducing(self) -> None:
        """Nobody wants the rest. It is still read, so that the client gets round to reading its answer."""
        if not self._dropped:
            self._dropped = True
            self._done = None
            self._early.clear()
            self._resume()
