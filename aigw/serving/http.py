"""The HTTP server beneath both ports: twisted.web with limits at header time, deadlines, and JSON for every refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import Interface

from aigw.errors import GatewayError, InternalError, MalformedRequest, RequestTooLarge
from aigw.serving.limits import HttpLimits
from aigw.serving.refusal import error_body
from aigw.serving.wheel import Timer, Wheel

# Every control byte but the tab. twisted.web itself refuses NUL, CR and LF only.
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=-]+(:\d{0,5})?|\[[0-9A-Fa-f:.]+\](:\d{0,5})?")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def answer_json(request: Request, status: int, body: bytes) -> int:
    """
    Answer a request with JSON and finish it.

    Returns:
        `NOT_DONE_YET`, so that a `render` method can return the call.
    """
    request.setResponseCode(status)
    # twisted.web's name and release are nobody's business.
    request.responseHeaders.removeHeader(b"server")
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    if request.method != b"HEAD":
        request.write(body)
    request.finish()
    return NOT_DONE_YET


def refuse(request: Request, error: GatewayError) -> int:
    """Answer a request with a gateway error; returns `NOT_DONE_YET`."""
    for name, value in error.headers:
        request.setHeader(name, value)
    return answer_json(request, error.status, error_body(error))


class IBodySink(Interface):
    """Takes a request's body as it comes, instead of its being held."""

    def write(chunk: bytes) -> None:
        """A piece of the body."""

    def finish() -> None:
        """The body is whole."""

    def lost() -> None:
        """The client left before the body was whole."""


class GatewayRequest(Request):
    """
    A request whose failures are JSON and show nothing of the inside.

    Attributes:
        sink: Set at header time by whoever wants the body as it comes; such a request is not rendered.
        body_limit: Most bytes of a body that is held; set at header time, else that of the server.
        refusal: Why the request is refused, found at header time.
        declared_bytes: Length of the body, None when only its end will tell.
        serve: Set at header time: what answers the request when its body is whole.
    """

    channel: Any
    defaultContentType = None
    sink: IBodySink | None = None
    body_limit: int | None = None
    refusal: GatewayError | None = None
    serve: Callable[[], int] | None = None
    declared_bytes: int | None = 0
    _held_bytes = 0
    _whole = False

    def gotLength(self, length: int | None) -> None:
        """Hold bodies in memory: they are bounded, and a temporary file would block."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Hold a piece of the body, up to the limit; a chunked body tells its length only by coming."""
        if self.finished:
            # The answer came early; nobody wants the rest.
            return
        if self.sink is not None:
            self.channel.body_moves()
            self.sink.write(data)
            return
        self._held_bytes += len(data)
        limit = self.channel.limits.body_bytes if self.body_limit is None else self.body_limit
        if self._held_bytes > limit:
            self.channel.turn_away(RequestTooLarge())
            return
        super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is whole. One that went through as it came needs nothing more."""
        self._whole = True
        if self.sink is not None:
            self.sink.finish()
        elif not self.finished:
            super().requestReceived(command, path, version)

    def finish(self) -> None:
        """The answer is complete. What is left of the body could be taken for the next request, so that ends too."""
        if not self._whole:
            self.channel.persistent = False
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """The client left."""
        if self.sink is not None and not self._whole:
            self.sink.lost()
        super().connectionLost(reason)

    def pause_body(self) -> None:
        """Read nothing more from the client for now."""
        self.channel.pause_reading()

    def resume_body(self) -> None:
        """Go on reading."""
        self.channel.resume_reading()

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource raised: say so in the log, and to the client as a 500 without details."""
        self.channel.log.failure("a request could not be handled", failure=reason)
        if not self.startedWriting:
            refuse(self, InternalError())
        else:
            self.channel.abort()
        return reason


class Channel(HTTPChannel):
    """
    One HTTP connection. What is refused by its head is refused before its body is read, and before `100 Continue`.

    Its `factory` gives limits and wheel.
    """

    log = Logger()
    requestFactory = GatewayRequest
    factory: Server
    transport: Any
    _networkProducer: Any
    _deadline: Timer | None = None
    _turned_away = False
    _counted = False
    _whole = False
    _still_sending = False
    _successor: IProtocol | None = None

    @property
    def limits(self) -> HttpLimits:
        """Of the server."""
        return self.factory.limits

    def connectionMade(self) -> None:
        """Start the absolute clock on the first request's head: an idle timer would start anew with every byte."""
        self.totalHeadersSize = self.MAX_LENGTH = self.limits.header_bytes
        self.maxHeaders = self.limits.headers
        self.factory.channels.add(self)
        self._counted = True
        self._expect_head()
        super().connectionMade()

    def _expect_head(self) -> None:
        self._deadline = self.factory.wheel.schedule(self.limits.head_s, self.abort)

    def abort(self) -> None:
        """Close the connection now."""
        if self.transport is not None:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client; what follows a refused request is dropped."""
        if not self._turned_away:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Refuse a folded header (RFC 9112, 5.2): others see a header of its own there, such as the body's length."""
        if self._turned_away:
            return
        if line[:1] in (b" ", b"\t"):
            self.turn_away(MalformedRequest("a line of the head begins with a space"))
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of the head is longer than the whole head may be."""
        self.turn_away(RequestTooLarge("the head of the request"))

    def headerReceived(self, line: bytes) -> bool:
        """Refuse control bytes, which other parsers take for line ends."""
        if _CONTROL.search(line):
            self.turn_away(MalformedRequest("a header holds a control character"))
            return False
        name, _, value = line.partition(b":")
        if name.lower() == b"transfer-encoding" and (
            value.strip().lower() != b"chunked" or self._version != b"HTTP/1.1"
        ):
            # Other readers of the same bytes may see another end of the body.
            self.turn_away(MalformedRequest("the only transfer coding is `chunked`, and only in HTTP/1.1"))
            return False
        return cast(bool, super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        """The head is complete: judge it before anything of the body is read."""
        request: GatewayRequest = self.requests[-1]
        hosts = request.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            self.turn_away(MalformedRequest("a request has exactly one Host header"))
            return
        if hosts and not _HOST.fullmatch(hosts[0].strip()):
            self.turn_away(MalformedRequest("the Host header names no host"))
            return
        request.method, request.uri, request.clientproto = self._command, self._path, self._version
        request.declared_bytes = self.length
        try:
            self.factory.admit(request)
            limit = self.limits.body_bytes if request.body_limit is None else request.body_limit
            if request.sink is None and self.length is not None and self.length > limit:
                raise RequestTooLarge()
        except GatewayError as error:
            request.refusal = error
            if self.length != 0:
                # What comes of the body is dropped, and could otherwise be taken for the next request.
                self._turned_away = True
                request.setHeader(b"connection", b"close")
                self.factory.refuse(request, error)
                return
        if request.finished:
            # It was to pass through and is answered already; nobody wants its body.
            self._turned_away = True
            return
        if self._deadline is not None:
            self._deadline.reset(self.limits.body_s)
        super().allHeadersReceived()

    def body_moves(self) -> None:
        """A piece of a body that is not held has come: it may go on for as long as pieces come."""
        if self._deadline is not None:
            self._deadline.reset(self.limits.body_s)

    def pause_reading(self) -> None:
        """Let the client wait; its clock stands still, since it is we who stop."""
        self._stop_deadline()
        if self.transport is not None:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Go on."""
        if self.transport is not None and not self._whole:
            self._deadline = self._deadline or self.factory.wheel.schedule(self.limits.body_s, self.abort)
            self.transport.resumeProducing()

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes that are no lines of a head: of a body, of the next request, or of the protocol after an upgrade."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif not self._turned_away:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is whole; a refused one is never handed on."""
        if self._turned_away:
            return
        self._whole = True
        self._stop_deadline()
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """A request was answered; the clock for the next one starts."""
        persistent = self.persistent and self.factory.accepting
        self.persistent = persistent
        self._still_sending = not self._whole
        self._whole = False
        if persistent:
            self._expect_head()
        super().requestDone(request)

    def turn_away(self, error: GatewayError) -> None:
        """Answer an unfinished request with an error and close the connection."""
        if self._turned_away:
            return
        self._turned_away = True
        body = error_body(error)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (error.status, RESPONSES.get(error.status, b"Refused"), len(body))
            + body
        )
        self._still_sending = True
        self.loseConnection()

    def loseConnection(self) -> None:
        """
        Close the connection when the client has its answer, or has had its time to take it.

        A socket that is closed while bytes wait in it makes the client's system throw away what was not read (RFC 9112,
        9.6); so a client that is still sending is read on, and what it sends is dropped, until it has seen the end.
        """
        self._stop_deadline()
        self._deadline = self.factory.wheel.schedule(self.limits.body_s, self.abort)
        # TLS says goodbye in its own way, and reads on until the client has said so, too.
        halves = ITCPTransport.providedBy(self.transport) and not self.isSecure()
        if halves and (self._still_sending or (self.requests and not self._whole)):
            self._turned_away = True
            self._networkProducer.unregisterProducer()
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()
        else:
            super().loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """What twisted.web finds wrong with a head or a chunk; its own answer has no body."""
        self.turn_away(MalformedRequest("this is no HTTP request that can be read"))

    def upgraded(self, protocol: IProtocol) -> None:
        """Another protocol has the transport now, and gets what the client sent behind its request's head."""
        self._successor = protocol
        self._stop_deadline()
        self.setTimeout(None)
        self._forget()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being answered."""
        if not self.requests and self.transport is not None:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._stop_deadline()
        self._forget()
        super().connectionLost(reason)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget(self) -> None:
        if self._counted:
            self._counted = False
            self.factory.channels.discard(self)


class Server(Site):
    """
    One port's HTTP server.

    Args:
        root: The resource that all requests go to.
        reactor: For twisted.web.
        wheel: Timers.
        limits: See there.
        admit: Judges each request by its head, before its body is read; raises a `GatewayError` to refuse it.
        refuse: Answers a request that was not admitted.
    """

    # No HTTP/2: it goes round the channel's limits.
    protocol = cast(Any, Channel)
    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        wheel: Wheel,
        limits: HttpLimits,
        admit: Callable[[GatewayRequest], None] = lambda _: None,
        refuse: Callable[[GatewayRequest, GatewayError], int] = refuse,
    ) -> None:
        super().__init__(root, requestFactory=GatewayRequest, reactor=reactor, timeout=None)
        self.admit = admit
        self.refuse = refuse
        self.wheel = wheel
        self.limits = limits
        self.channels: set[Channel] = set()
        self.accepting = True

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel for a new connection; None, which closes it, when there are too many."""
        if not self.accepting or len(self.channels) >= self.limits.connections:
            return None
        return super().buildProtocol(addr)

    def log(self, request: Any) -> None:
        """Write no access log: every exchange has its own, and paths may hold keys."""

    def drain(self) -> None:
        """Take no new connection; close those that wait for a next request, the others after their answer."""
        self.accepting = False
        for channel in list(self.channels):
            channel.close_if_idle()
