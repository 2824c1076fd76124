"""One keep-alive connection to a provider: a request out, its answer back, then the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import GatewayError, ProviderFailed, TruncatedStream
from aigw.serving.prompt import send_now
from aigw.serving.wheel import Timer
from aigw.upstream.answer import Answer
from aigw.upstream.ask import Ask
from aigw.upstream.body import HeldBody, StreamedBody
from aigw.upstream.reader import AnswerReader
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upload import Upload

# Up to here head and body leave in one write; above, joining them would only copy the body. It is also how much a
# transport buffers before it tells a producer to wait, which is how the end of a larger body is noticed.
ONE_WRITE_BYTES = 65_536
# Whoever answers like this before the body's end does not want the rest of it.
REFUSAL_STATUS = 300
# TLS waits for the other side's farewell, and some never say it.
CLOSE_S = 5.0


class Keeper(Shape):
    """Whoever keeps connections, and is told what becomes of one."""

    def ready(self, connection: Connection) -> None:
        """It is open, verified and free."""

    def lost(self, connection: Connection) -> None:
        """It is gone."""

    def again(self, ask: Ask) -> None:
        """A request met a dead connection and wants a new one."""

    def unusable(self, ask: Ask, reason: BaseException | None) -> None:
        """A request's connection was reached, but TLS failed on it."""

    def seconds(self) -> float:
        """The time."""

    def later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Call back after a delay."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """
    What a read held is told after it was parsed: the head, then the body's pieces as one, then the end. So whoever
    hears of it may close the connection, or use it again, at any of these moments.

    Args:
        keeper: The pool that this connection belongs to.
        secure: Whether a TLS handshake comes first.
        settings: Limits of heads, and when to send again.
    Attributes:
        served: How many requests were answered here.
        free_since_s: When the last of them was; kept by the pool.
    """

    # TCP, or TLS over it, which passes on what it has not.
    transport: Any

    def __init__(self, keeper: Keeper, secure: bool, settings: UpstreamSettings) -> None:
        self._keeper = keeper
        self._resend_within_s = settings.resend_within_s
        self._reader = AnswerReader(settings.head_bytes, settings.head_fields)
        self._secured = not secure
        # False while it races others to the same host; a loser is nobody's.
        self._adopted = False
        self._opener: Ask | None = None
        self._ask: Ask | None = None
        self._answer: Answer | None = None
        self._upload: Upload | None = None
        self._heard = False
        self._paused = False
        self._unsent = False
        self._written_s = 0.0
        self._closing: Timer | None = None
        self.served = 0
        self.free_since_s = 0.0

    # Opening ----------------------------------------------------------------------------------------------------------

    def adopt(self, ask: Ask) -> None:
        """The pool takes this connection, for a request that waits for it."""
        self._adopted = True
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._opener = ask
        ask.stop = self.abort
        if self._secured:
            self._opened()

    def handshakeCompleted(self) -> None:
        """TLS is up and the certificate is the host's."""
        self._secured = True
        if self._adopted:
            self._opened()

    def _opened(self) -> None:
        ask, self._opener = self._opener, None
        if ask is not None:
            self.send(ask)

    # Sending ----------------------------------------------------------------------------------------------------------

    def send(self, ask: Ask) -> None:
        """Write a request; the connection must be free."""
        self._ask = ask
        ask.stop = self.abort
        self._heard = False
        self._reader.expect(ask.bodiless)
        if self.served:
            self._written_s = self._keeper.seconds()
        if isinstance(ask.body, StreamedBody):
            self._upload = Upload(ask.body, self.transport, self._upload_ended)
            self._upload.start(ask.head)
        else:
            self._write(ask.head, ask.body)

    def _write(self, head: bytes, body: HeldBody) -> None:
        if len(body.payload) <= ONE_WRITE_BYTES:
            send_now(self.transport, head + body.payload)
        else:
            self.transport.registerProducer(self, True)
            self.transport.writeSequence((head, body.payload))
        body.opened()

    def _upload_ended(self, error: GatewayError | None) -> None:
        """A streamed body has left, or will never be whole."""
        self._upload = None
        ask = self._ask
        if error is not None and ask is not None:
            answer = self._answer
            self.abort()
            _tell_failure(ask, answer, error)

    def _stop_upload(self) -> None:
        """Send no more of a streamed body; what has left already is half a request."""
        upload, self._upload = self._upload, None
        if upload is not None:
            self._unsent = True
            upload.stop()

    def pauseProducing(self) -> None:
        """The transport holds a large body that the provider does not take yet."""
        self._unsent = True

    def resumeProducing(self) -> None:
        """The large body has left."""
        self._unsent = False
        self.transport.unregisterProducer()
        if self._ask is not None:
            self._ask.body.sent()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` tells the rest."""

    # What the answer's reader asks ------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Read no more."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def abort(self) -> None:
        """Close at once, whatever is unsent or unread; only the pool is told."""
        self._ask = self._answer = self._opener = None
        self.transport.abortConnection()

    # Receiving --------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Parse a read, then tell what it held."""
        ask, reader = self._ask, self._reader
        if ask is None:
            # Nothing was asked, so it is no answer.
            self.abort()
            return
        self._heard = True
        error = reader.feed(data)
        answer = self._answer
        if answer is None and reader.head_complete:
            if reader.status >= REFUSAL_STATUS:
                self._stop_upload()
            answer = self._answer = Answer(self, reader.status, tuple(reader.fields), reader.phrase)
            ask.answered(answer)
        # Each step may have led to `abort`; then the rest is no longer told.
        if answer is not None and reader.pieces and self._ask is ask:
            pieces, reader.pieces = reader.pieces, []
            answer.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ask is not ask:
            return
        if reader.complete:
            self._finish(answer)
        elif error is not None:
            self.abort()
            _tell_failure(ask, answer, error)

    def _finish(self, answer: Answer | None) -> None:
        self._ask = self._answer = None
        self.served += 1
        self._stop_upload()
        if self._unsent or self._reader.surplus or not self._reader.keep_alive:
            # A rest of the request that the provider did not wait for, or bytes behind its answer, would be taken
            # for parts of the next exchange.
            self.close()
        else:
            self.resume()
            self._keeper.ready(self)
        if answer is not None:
            answer.end()

    # Closing ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close a connection that serves nothing, in good order where the provider plays along."""
        if self._unsent:
            self.abort()
        else:
            self._closing = self._keeper.later(CLOSE_S, self.abort)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The provider has closed it, or we have."""
        opener, ask, answer = self._opener, self._ask, self._answer
        self._opener = self._ask = self._answer = None
        self._stop_upload()
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if opener is not None:
            self._keeper.unusable(opener, reason.value)
        elif answer is not None:
            whole = self._reader.close_delimited and reason.check(ConnectionDone)
            answer.end(None if whole else TruncatedStream())
        elif ask is not None and not ask.once and self._never_seen():
            self._keeper.again(ask)
        elif ask is not None:
            ask.fail(ProviderFailed("it closed the connection without an answer"))
        if self._adopted:
            self._keeper.lost(self)

    def _never_seen(self) -> bool:
        """
        Whether the request met a connection that the provider had already given up, so that it may be sent again:
        not when a byte came back, nor when the provider has had time to act on it. It goes to a new connection, so that
        it is sent again only once.
        """
        if not self.served or self._heard:
            return False
        return self._keeper.seconds() - self._written_s <= self._resend_within_s


def _tell_failure(ask: Ask, answer: Answer | None, error: GatewayError) -> None:
    """End an answer that has begun, else the request itself."""
    if answer is not None:
        answer.end(error)
    else:
        ask.fail(error)
