"""One HTTP/1.1 connection of a client: one request after the other, each with bounds and deadlines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

# Names with an underscore, but twisted.web's decoder is the one that knows every abuse of this coding.
from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError
from twisted.web.server import version as twisted_web
from zope.interface import implementer

from aigw.errors import GatewayError, MalformedRequest, RequestTooLarge
from aigw.serving.answer_head import answer_head, phrase_of
from aigw.serving.head import RequestHead, read_head
from aigw.serving.prompt import Gathered
from aigw.serving.refusal import error_body
from aigw.serving.wheel import Timer

if TYPE_CHECKING:
    from aigw.serving.http import GatewayRequest, Server

# So much of what follows a request is taken in while it is answered: a client that leaves shows only to who reads.
EAGER_BYTES = 16_384
_END = b"\r\n\r\n"
# In the spelling of `twisted.web`.
_OURS = (b"Date", b"Connection")


@implementer(IPushProducer)
class Channel(Protocol):
    """
    Reads requests and sends their answers. What is refused by its head is refused before its body is read, and before
    `100 Continue`. The next request is looked at when the one before it has its answer.

    To a `twisted.web` request this is its channel. `factory` gives limits, wheel and turn.

    Attributes:
        requests: The one that is being served, if any.
        persistent: Whether the connection may serve another.
    """

    log = Logger()
    factory: Server
    transport: Any
    site: Server
    requestFactory: Any
    # Set by Twisted's factory; our deadlines are the wheel's.
    timeOut: float | None = None
    callLater: Any = None

    def __init__(self) -> None:
        self.requests: list[GatewayRequest] = []
        self.persistent = True
        # What has come and was not looked at; websocket.py takes it over with the connection.
        self._dataBuffer: list[bytes] = []
        self._waiting_bytes = 0
        # The beginning of a head, and whether one empty line before it was passed over.
        self._beginning = bytearray()
        self._searched = 0
        self._passed_line = False
        # Of the body that is being read: what is missing, or the decoder of its chunks.
        self._in_body = False
        self._left = 0
        self._chunks: _ChunkedTransferDecoder | None = None
        self._reading = False
        self._whole = False
        self._turned_away = False
        self._still_sending = False
        self._counted = False
        self._producer: Any = None
        self._client_is_slow = False
        self._body_paused = False
        self._paused = False
        self._successor: IProtocol | None = None

    def connectionMade(self) -> None:
        """Start the absolute clock on the first request's head: an idle timer would start anew with every byte."""
        factory = self.factory
        self._gathered = Gathered(lambda: self.transport, factory.turn)
        self._deadline = Timer(factory.wheel, self._overdue)
        self._start_clock(factory.limits.head_s)
        factory.channels.add(self)
        self._counted = True
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    # Time -----------------------------------------------------------------------------------------------------------

    def _start_clock(self, seconds: float) -> None:
        self._timed = True
        self._deadline.reset(seconds)

    def _stop_clock(self) -> None:
        # The timer stays where it is filed: taking it out and filing it again for each request would cost more.
        self._timed = False

    def _overdue(self) -> None:
        if self._timed:
            self.abort()

    # Reading --------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client; what follows a refused request is dropped."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif not self._turned_away:
            self._dataBuffer.append(data)
            self._waiting_bytes += len(data)
            self._read()

    def _read(self) -> None:
        """Look at what has come, up to the end of one request."""
        if self._reading:
            # Further up in the stack somebody is about to.
            return
        self._reading = True
        try:
            while self._dataBuffer and not self._is_busy():
                pieces, self._dataBuffer, self._waiting_bytes = self._dataBuffer, [], 0
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if self._in_body:
                    self._read_body(data)
                else:
                    self._read_head(data)
        finally:
            self._reading = False
        self._mind_reading()

    def _is_busy(self) -> bool:
        """Whether nothing more may be looked at for now."""
        if self._turned_away or self._whole:
            return True
        # Who does not take answers asks no more questions.
        return self._client_is_slow and not self._in_body

    def _keep(self, rest: bytes) -> None:
        """Let bytes wait that follow what is being looked at."""
        if rest:
            self._dataBuffer.insert(0, rest)
            self._waiting_bytes += len(rest)

    def _read_head(self, data: bytes) -> None:
        beginning = self._beginning
        if beginning:
            beginning += data
            data = bytes(beginning) if beginning.find(_END, self._searched) >= 0 else b""
        if data.startswith(b"\r\n") and not self._passed_line:
            # Old clients send an empty line behind a body (RFC 9112, 2.2).
            self._passed_line = True
            data = data[2:]
            beginning.clear()
        end = data.find(_END)
        if end >= 0:
            beginning.clear()
            self._searched = 0
            self._passed_line = False
            self._keep(data[end + 4 :])
            self._judge(data[:end])
            return
        beginning += data
        self._searched = max(0, len(beginning) - 3)
        limits = self.factory.limits
        # As many bytes and line ends as the longest good head has.
        if len(beginning) > limits.header_bytes + 2 * limits.headers + 4:
            long_line = beginning.find(b"\r\n") < 0
            self.turn_away(
                RequestTooLarge("the head of the request") if long_line else MalformedRequest("the head is too long")
            )

    def _judge(self, data: bytes) -> None:
        """A head is complete: judge it before anything of the body is looked at."""
        factory = self.factory
        limits = factory.limits
        try:
            head = read_head(data, limits.header_bytes, limits.headers)
        except GatewayError as error:
            self.turn_away(error)
            return
        request: GatewayRequest = self.requestFactory(self)
        request.take(head)
        self.requests.append(request)
        self.persistent = head.keeps
        try:
            factory.admit(request)
            limit = limits.body_bytes if request.body_limit is None else request.body_limit
            if request.sink is None and head.length is not None and head.length > limit:
                raise RequestTooLarge()
        except GatewayError as error:
            request.refusal = error
            if head.length != 0:
                # What comes of the body is dropped, and could otherwise be taken for the next request.
                self._turned_away = True
                factory.refuse(request, error)
                return
        if request.finished:
            # It was to pass through and is answered already; nobody wants its body.
            self._turned_away = True
        elif head.length == 0:
            self._end_request()
        else:
            self._begin_body(request, head)

    def _begin_body(self, request: GatewayRequest, head: RequestHead) -> None:
        self._start_clock(self.factory.limits.body_s)
        if head.expects:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._in_body = True
        if head.length is None:
            self._chunks = _ChunkedTransferDecoder(request.handleContentChunk, self._end_chunks)
        else:
            self._left = head.length

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            try:
                self._chunks.dataReceived(data)
            except _MalformedChunkedDataError:
                self.turn_away(MalformedRequest("this is no HTTP request that can be read"))
            return
        left = self._left
        if len(data) > left:
            self._keep(data[left:])
            data = data[:left]
        self._left = left - len(data)
        self.requests[0].handleContentChunk(data)
        if not self._left:
            self._end_request()

    def _end_chunks(self, rest: bytes) -> None:
        self._keep(rest)
        self._end_request()

    def _end_request(self) -> None:
        """The request is whole; a refused one is never handed on."""
        self._in_body = False
        self._chunks = None
        if self._turned_away:
            return
        self._whole = True
        self._stop_clock()
        request = self.requests[0]
        request.requestReceived(request.method, request.uri, request.clientproto)

    # How fast -------------------------------------------------------------------------------------------------------

    def _mind_reading(self) -> None:
        """Read from the client, or let it wait, as all reasons together ask for."""
        pause = (
            self._body_paused
            or self._waiting_bytes > EAGER_BYTES
            # While a request is answered, its own producer is told, and a client that leaves is to be noticed.
            or (self._client_is_slow and not self._whole)
        )
        if pause != self._paused and self.transport is not None and not self._turned_away:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def body_moves(self) -> None:
        """A piece of a body that is not held has come: it may go on for as long as pieces come."""
        if self._timed:
            self._deadline.reset(self.factory.limits.body_s)

    def pause_reading(self) -> None:
        """Let the client wait; its clock stands still, since it is we who stop."""
        self._stop_clock()
        self._body_paused = True
        self._mind_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._body_paused:
            self._body_paused = False
            if not self._whole:
                self._start_clock(self.factory.limits.body_s)
            self._mind_reading()

    def pauseProducing(self) -> None:
        """The client takes its answer slowly."""
        self._client_is_slow = True
        if self._producer is not None:
            self._producer.pauseProducing()
        self._mind_reading()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._client_is_slow = False
        if self._producer is not None:
            self._producer.resumeProducing()
        self._mind_reading()
        self._read()

    def stopProducing(self) -> None:
        """The connection is lost."""
        if self._producer is not None:
            self._producer.stopProducing()

    # What a request asks of its channel -----------------------------------------------------------------------------

    def send_head(self, version: bytes, status: int, phrase: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        """
        Begin an answer.

        Args:
            version, status, phrase: Of the status line.
            fields: Of the answer, to which those of the connection are added.
        """
        fields.append((b"date", self.factory.date()))
        if not (self.persistent and self._whole and self.factory.accepting):
            fields.append((b"connection", b"close"))
        self._gathered.write(answer_head(version, status, phrase, fields))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Begin an answer whose headers `twisted.web` keeps; its own name and release are nobody's business."""
        fields = [
            (name, value)
            for name, values in headers.getAllRawHeaders()
            for value in values
            if value != twisted_web and name not in _OURS
        ]
        self.send_head(version, int(code), reason, fields)

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn, or with the end of the answer."""
        self._gathered.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send bytes."""
        self._gathered.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell a push producer when the client is slow."""
        if self._producer is not None or not streaming:
            raise RuntimeError("a request has one producer, and it pushes")
        self._producer = producer
        if self._client_is_slow:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Tell it nothing more."""
        self._producer = None

    def getPeer(self) -> IAddress:
        """Address of the client."""
        address: IAddress = self.transport.getPeer()
        return address

    def getHost(self) -> IAddress:
        """Address that the client has connected to."""
        address: IAddress = self.transport.getHost()
        return address

    def isSecure(self) -> bool:
        """Whether TLS is spoken."""
        return ISSLTransport(self.transport, None) is not None

    def requestDone(self, request: GatewayRequest) -> None:
        """A request was answered; the clock for the next one starts."""
        del self.requests[0]
        self.persistent = self.persistent and self.factory.accepting
        self._still_sending = not self._whole
        self._whole = self._body_paused = False
        if self.persistent:
            self._gathered.flush()
            self._start_clock(self.factory.limits.head_s)
            self._mind_reading()
            self._read()
        else:
            self.loseConnection()

    # The end --------------------------------------------------------------------------------------------------------

    def turn_away(self, error: GatewayError) -> None:
        """Answer an unfinished request with an error and close the connection."""
        if self._turned_away:
            return
        self._turned_away = True
        if self.requests and self.requests[0].startedWriting:
            # Its answer has begun, and an error in the middle of it would be taken for a part.
            self.abort()
            return
        body = error_body(error)
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self.persistent = False
        self.send_head(b"HTTP/1.1", error.status, phrase_of(error.status), fields)
        self._gathered.write(body)
        self._still_sending = True
        self.loseConnection()

    def loseConnection(self) -> None:
        """
        Close the connection when the client has its answer, or has had its time to take it.

        A socket that is closed while bytes wait in it makes the client's system throw away what was not read (RFC 9112,
        9.6); so a client that is still sending is read on, and what it sends is dropped, until it has seen the end.
        """
        self._gathered.flush()
        self._start_clock(self.factory.limits.body_s)
        self._turned_away = True
        self._dataBuffer, self._waiting_bytes = [], 0
        transport = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        # TLS says goodbye in its own way, and reads on until the client has said so, too.
        halves = ITCPTransport.providedBy(transport) and not self.isSecure()
        if halves and (self._still_sending or (self.requests and not self._whole)):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def abort(self) -> None:
        """Close the connection now."""
        if self.transport is not None:
            self.transport.abortConnection()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is coming in or being answered."""
        if not self.requests and not self._beginning and self.transport is not None:
            self.loseConnection()

    def upgraded(self, protocol: IProtocol) -> None:
        """Another protocol has the transport now, and gets what the client sent behind its request's head."""
        self._successor = protocol
        self._deadline.cancel()
        self._forget()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._turned_away = True
        self._deadline.cancel()
        self._forget()
        for request in self.requests:
            request.connectionLost(reason)

    def _forget(self) -> None:
        if self._counted:
            self._counted = False
            self.factory.channels.discard(self)
