"""The HTTP server beneath both ports: requests with limits at header time, and JSON for every refusal."""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_END, BytesIO
from typing import Any, cast
from urllib.parse import parse_qs

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import Interface

from aigw.errors import GatewayError, InternalError, RequestTooLarge
from aigw.serving.answer_head import phrase_of
from aigw.serving.channel import Channel
from aigw.serving.head import RequestHead
from aigw.serving.limits import HttpLimits
from aigw.serving.refusal import error_body
from aigw.serving.turn import Turn
from aigw.serving.wheel import Wheel


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
        requestHeaders: A `RequestHeaders`.
        sink: Set at header time by whoever wants the body as it comes; such a request is not rendered.
        body_limit: Most bytes of a body that is held; set at header time, else that of the server.
        refusal: Why the request is refused, found at header time.
        declared_bytes: Length of the body, None when only its end will tell.
        serve: Set at header time: what answers the request when its body is whole.
        left: Called when the client leaves before it has its answer.
    """

    channel: Any
    requestHeaders: Any
    defaultContentType = None
    sink: IBodySink | None = None
    body_limit: int | None = None
    refusal: GatewayError | None = None
    serve: Callable[[], int] | None = None
    left: Callable[[], object] | None = None
    declared_bytes: int | None = 0
    _held_bytes = 0
    _whole = False

    def __init__(self, channel: Any) -> None:
        """Only what every request needs: the base class also asks for addresses, and sets up sessions and cookies."""
        self.channel = channel
        self.transport = channel.transport
        self.responseHeaders = Headers()
        self.notifications = []
        self.queued = False
        self.cookies = []
        self.received_cookies = {}
        self._adapterCache: dict[str, object] = {}
        self._parsePOSTFormSubmission = False

    def take(self, head: RequestHead) -> None:
        """The head has come."""
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.requestHeaders = head.headers
        self.declared_bytes = head.length

    @property
    def client(self) -> IAddress:
        """Address of the client."""
        return cast(IAddress, self.channel.getPeer())

    @property
    def host(self) -> IAddress:
        """Address that the client has connected to."""
        return cast(IAddress, self.channel.getHost())

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
        limit = self.channel.factory.limits.body_bytes if self.body_limit is None else self.body_limit
        if self._held_bytes > limit:
            self.channel.turn_away(RequestTooLarge())
        elif self.content is None:
            # In memory, since it is bounded, and a temporary file would block; its first bytes are not copied.
            self.content = BytesIO(data)
            self.content.seek(0, SEEK_END)
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is whole. One that went through as it came needs nothing more."""
        self._whole = True
        if self.sink is not None:
            self.sink.finish()
        elif not self.finished:
            if self.content is None:
                self.content = BytesIO()
            self.content.seek(0)
            self.process()

    def process(self) -> None:
        """Have the server's resource answer. One without children is not told of the path's segments."""
        self.site = self.channel.site
        self.path, _, query = self.uri.partition(b"?")
        if not self.site.resource.isLeaf:
            self.parseCookies()
            self.args = parse_qs(query, True)
            super().process()
            return
        try:
            self.render(self.site.resource)
        except Exception:
            # As twisted.web does: a resource that fails is answered with 500.
            self.processingFailed(Failure())

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status; twisted.web knows no phrase for the newer ones, such as 429."""
        super().setResponseCode(code, phrase_of(code) if message is None else message)

    def begin(self, status: int, fields: list[tuple[bytes, bytes]], sized: bool) -> None:
        """
        Begin an answer without the help of `responseHeaders`; those that are set already go with it.

        Args:
            status: HTTP status.
            fields: Names, which are tokens, and values.
            sized: Whether they tell the length of the body.
        """
        self.code, self.startedWriting = status, 1
        fields += [(name, value) for name, values in self.responseHeaders.getAllRawHeaders() for value in values]
        bodiless = status in NO_BODY_CODES or self.method == b"HEAD"
        if not (sized or bodiless) and self.clientproto == b"HTTP/1.1":
            self.chunked = 1
            fields.append((b"transfer-encoding", b"chunked"))
        self.channel.send_head(self.clientproto, status, phrase_of(status), fields)

    def finish(self) -> None:
        """The answer is complete. What is left of the body could be taken for the next request, so that ends too."""
        if not self._whole:
            self.channel.persistent = False
        super().finish()
        self.left = self.serve = None

    def connectionLost(self, reason: Failure) -> None:
        """The client left."""
        if self.sink is not None and not self._whole:
            self.sink.lost()
        super().connectionLost(reason)
        left, self.left = self.left, None
        if left is not None:
            left()

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
        turn: Tells the end of a turn, when answers leave that are not complete.
    """

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
        turn: Turn | None = None,
    ) -> None:
        super().__init__(root, requestFactory=GatewayRequest, reactor=reactor, timeout=None)
        self.turn = turn or Turn(reactor)
        self._date = b""
        self._date_second = -1
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

    def acceptableProtocols(self) -> list[bytes]:
        """No HTTP/2: it goes round the channel's limits."""
        return [b"http/1.1"]

    def date(self) -> bytes:
        """What the `Date` header says, made once in a second."""
        second = int(self.wheel.seconds())
        if second != self._date_second:
            self._date, self._date_second = datetimeToString(), second
        return self._date

    def log(self, request: Any) -> None:
        """Write no access log: every exchange has its own, and paths may hold keys."""

    def drain(self) -> None:
        """Take no new connection; close those that wait for a next request, the others after their answer."""
        self.accepting = False
        for channel in list(self.channels):
            channel.close_if_idle()
