"""An answer under way: its head, and its body as it comes."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from aigw.errors import GatewayError
from aigw.values.step import Headers

# One Failure for every good end: making one a request costs as much as parsing its head.
_DONE = Failure(ResponseDone("Response body fully received"))


class Source(Protocol):
    """Where an answer's bytes come from: a connection, or the sandbox."""

    def pause(self) -> None:
        """Take no more from the wire."""

    def resume(self) -> None:
        """Go on."""

    def abort(self) -> None:
        """Close now; `Answer.end` is not called any more."""


@implementer(IResponse, IPushProducer)
class Answer:
    """
    `IResponse`, and the transport of whatever protocol takes its body.

    Nothing is delivered while the protocol has paused, not even what was already read; that is at most one read of
    the socket. The body ends with `ResponseDone` or with a `GatewayError`.

    Attributes:
        code: HTTP status.
        fields: Header fields as received, names in lower case.
    """

    __slots__ = ("_ended", "_held", "_paused", "_protocol", "_source", "code", "fields", "phrase", "request", "version")

    previousResponse: IResponse | None = None

    def __init__(self, source: Source, code: int, fields: Headers, phrase: bytes = b"") -> None:
        self._source: Source | None = source
        self.code = code
        self.fields = fields
        self.phrase = phrase
        self.version = (b"HTTP", 1, 1)
        self.request: IClientRequest | None = None
        self._protocol: IProtocol | None = None
        self._paused = True
        self._held: list[bytes] = []
        self._ended: Failure | None = None

    @property
    def headers(self) -> WebHeaders:
        """The fields, as Twisted's own agent gives them."""
        headers = WebHeaders()
        for name, value in self.fields:
            headers.addRawHeader(name, value)
        return headers

    @property
    def length(self) -> object:
        """The body's length as announced, else `UNKNOWN_LENGTH`."""
        for name, value in self.fields:
            if name == b"content-length":
                return int(value)
        return UNKNOWN_LENGTH

    def setPreviousResponse(self, previousResponse: IResponse) -> None:
        """There never is one: redirects are not followed."""

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to a protocol, with this answer as its transport."""
        self._protocol = protocol
        self._paused = False
        protocol.makeConnection(self)  # type: ignore[arg-type]  # as Twisted's own: a transport that only reads
        if not self._paused:
            self.resumeProducing()

    # What the protocol may ask ----------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing until `resumeProducing`."""
        self._paused = True
        if self._source is not None:
            self._source.pause()

    def resumeProducing(self) -> None:
        """Go on: first with what was held."""
        self._paused = False
        protocol = self._protocol
        if protocol is None:
            return
        while self._held and not self._paused:
            protocol.dataReceived(self._held.pop(0))
        if self._paused:
            return
        if self._ended is not None:
            self._finish(self._ended)
        elif self._source is not None:
            self._source.resume()

    def stopProducing(self) -> None:
        """Close the connection; the protocol hears nothing more."""
        source, self._source, self._protocol = self._source, None, None
        self._held.clear()
        self._paused = True
        if source is not None:
            source.abort()

    abortConnection = loseConnection = stopProducing

    # What the source tells --------------------------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """Bytes of the body have come."""
        if self._paused:
            self._held.append(chunk)
            if self._source is not None:
                self._source.pause()
        elif self._protocol is not None:
            self._protocol.dataReceived(chunk)

    def end(self, error: GatewayError | None = None) -> None:
        """
        The body is over, and the source is no longer this answer's.

        Args:
            error: Why it is not complete.
        """
        self._source = None
        reason = _DONE if error is None else Failure(error)
        if self._paused:
            self._ended = reason
        else:
            self._finish(reason)

    def _finish(self, reason: Failure) -> None:
        protocol, self._protocol, self._ended = self._protocol, None, None
        # Nothing can be asked of it any more; and a second end would be a lie.
        self._paused = True
        if protocol is not None:
            protocol.connectionLost(reason)
