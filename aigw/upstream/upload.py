"""A streamed body on its way from its producer to a provider's connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import GatewayError, InternalError
from aigw.upstream.body import StreamedBody, announced


@implementer(IConsumer, IPushProducer)
class Upload:
    """
    Frames what the producer makes, and passes the transport's pauses on to it: never more waits here than the
    transport's buffer and one piece.

    Ends once: sent, failed, or stopped.

    Args:
        body: See there.
        transport: Of an open connection.
        ended: Called with None when the body was sent, else with why it is not whole; not called after `stop`.
    """

    _log = Logger()

    __slots__ = ("_body", "_ended", "_full", "_left_bytes", "_transport", "_whole")

    def __init__(self, body: StreamedBody, transport: Any, ended: Callable[[GatewayError | None], None]) -> None:
        # None once it has ended: the producer may hold on to this object, and nothing is kept alive through it.
        self._body: StreamedBody | None = body
        self._transport = transport
        self._ended = ended
        # What is still to come of a length that was announced; None for a chunked body.
        self._left_bytes = announced(body)
        self._full = False
        self._whole = False

    def start(self, head: bytes) -> None:
        """Send the request's head, then its body."""
        body = self._body
        if body is None:
            return
        self._transport.registerProducer(self, True)
        self._transport.write(head)
        body.flowing()
        try:
            producing: Deferred[None] = body.startProducing(self)
        except Exception:
            self._broke(Failure())
            return
        producing.addCallbacks(self._produced, self._broke).addErrback(self._defect)

    def stop(self) -> None:
        """The rest is not wanted."""
        body = self._end()
        if body is not None:
            body.stopProducing()

    # IConsumer: from the producer -------------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """The producer is known already."""

    def unregisterProducer(self) -> None:
        """Its Deferred tells its end."""

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        # An empty chunk would end a chunked body.
        if self._body is None or not data:
            return
        if self._left_bytes is None:
            self._transport.writeSequence((b"%x\r\n" % len(data), data, b"\r\n"))
            return
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            # The provider would take the rest for another request.
            self._fail(InternalError("a request's body is longer than announced"))
        else:
            self._transport.write(data)

    def _produced(self, _: None) -> None:
        body = self._body
        if body is None:
            return
        if self._left_bytes:
            self._fail(InternalError("a request's body is shorter than announced"))
            return
        body.finish()
        self._whole = True
        if self._left_bytes is None:
            self._transport.write(b"0\r\n\r\n")
        if not self._full:
            self._sent()

    def _broke(self, failure: Failure) -> None:
        body = self._body
        if body is None:
            return
        body.finish()
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("A body's producer failed in a way that it should not", failure=failure)
            error = InternalError()
        self._fail(error)

    # IPushProducer: from the transport --------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The provider takes no more for now."""
        body = self._body
        if body is not None and not self._full:
            self._full = True
            body.blocked()
            body.pauseProducing()

    def resumeProducing(self) -> None:
        """All that was written has left."""
        body = self._body
        if body is None or not self._full:
            return
        self._full = False
        if self._whole:
            self._sent()
        else:
            body.flowing()
            body.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; its protocol is told, and stops this."""

    # Ends -------------------------------------------------------------------------------------------------------------

    def _sent(self) -> None:
        body = self._end()
        if body is not None:
            self._ended(None)
            body.sent()

    def _fail(self, error: GatewayError) -> None:
        body = self._end()
        if body is not None:
            body.stopProducing()
            self._ended(error)

    def _end(self) -> StreamedBody | None:
        body, self._body = self._body, None
        if body is not None:
            self._transport.unregisterProducer()
        return body

    def _defect(self, failure: Failure) -> None:
        self._log.failure("The end of a body was not taken", failure=failure)
