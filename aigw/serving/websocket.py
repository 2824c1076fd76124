"""The WebSocket server: Autobahn's protocol with every limit set, and its upgrade out of twisted.web."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import Attribute, Interface

from aigw.serving.frames import text_frame, whole_message
from aigw.serving.limits import SocketLimits
from aigw.serving.outbox import Outbox
from aigw.serving.prompt import Gathered
from aigw.serving.turn import Turn
from aigw.serving.wheel import Timer, Wheel
from aigw.serving.whole_messages import WholeMessages

CLOSE_GOING_AWAY = 1001
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011

# What Autobahn needs of a handshake. The rest stays with twisted.web: Autobahn's own header parser splits values at
# bytes that are no line ends, so a client could forge headers in it. Extensions are left out: none would be agreed on.
_HANDSHAKE = (b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol")


class ISocketApplication(Interface):
    """What talks on an open WebSocket."""

    subprotocol = Attribute("The offered subprotocol to select, or None.")

    def opened(socket: Any) -> None:
        """The handshake is done; `socket` is a `GatewaySocket` with its `outbox` ready."""

    def message(payload: bytes, binary: bool) -> None:
        """A whole message has come. Text is not yet known to be UTF-8."""

    def pause() -> None:
        """The client reads slowly: stop what feeds the outbox."""

    def resume() -> None:
        """The client has caught up."""

    def left() -> None:
        """
        Nothing can be sent any more and no message will come: stop what runs. Called once, and only after `opened`;
        `closed` may take a while longer.
        """

    def closed() -> None:
        """The connection is gone. Called once, also when the handshake failed."""


class GatewaySocket(WholeMessages, WebSocketServerProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """One client's WebSocket, with the bounds that Autobahn does not keep by itself."""

    factory: GatewaySocketFactory
    application: Any = None
    outbox: Outbox
    transport: Any

    _log = Logger()
    _is_open = False
    # Whether a message, or a frame between two messages, was finished since this was last looked at.
    _finished_one = False
    # What the messages of a turn are gathered in, once the socket is open.
    _gathered: Gathered | None = None
    # When a slow client was last seen to read, or to have stopped; and how often it had emptied our buffer by then.
    _slow_since = -math.inf
    _emptied = 0
    _linger: Timer | None = None

    def onConnect(self, request: object) -> str | tuple[str | None, dict[str, str]] | None:
        """Select the subprotocol that the application chose out of the offered ones."""
        return cast("str | None", self.application.subprotocol)

    def onOpen(self) -> None:
        """Take over the transport's flow control, then let the application begin."""
        self._gathered = Gathered(lambda: self.transport, self.factory.turn)
        self.outbox = Outbox(self._send_text, self._slow, self._caught_up)
        # twisted.web's channel was registered as the producer of this transport.
        self.transport.unregisterProducer()
        _set_buffer(self.transport, self.factory.limits.waiting_bytes)
        self.transport.registerProducer(self.outbox, True)
        self._is_open = True
        self.application.opened(self)

    def _send_text(self, message: bytes) -> None:
        # Autobahn's sendMessage holds what we send to the bound of what we take, and raises once the client has closed;
        # its sendFrame formats two debug lines for each frame.
        if self.state == self.STATE_OPEN:
            self._gathered.write(text_frame(message))  # type: ignore[union-attr]  # open since onOpen

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Autobahn's own frames, such as pings and closes, go behind the messages of this turn."""
        if self._gathered is not None:
            self._gathered.flush()
        super().sendData(data, sync, chopsize)

    def _slow(self) -> None:
        # Reading stops too: a client that asks on without reading would be answered into our memory.
        self._slow_since = self.factory.clock.seconds()
        self.transport.pauseProducing()
        self.application.pause()

    def _caught_up(self) -> None:
        self.transport.resumeProducing()
        self.application.resume()

    # What comes in --------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client; Autobahn's own hook formats a debug line for each."""
        if self._is_open and self.current_frame is None and not self.inside_message and not self.data:
            data = self._take_messages(data)
        if data:
            self._dataReceived(data)
        unfinished = self.in_message or len(self.data) > 0
        if unfinished or self in self.factory.unfinished:
            self.factory.mark_unfinished(self, unfinished, self._finished_one)
        self._finished_one = False

    def _take_messages(self, data: bytes) -> bytes:
        """Hand on the messages that are whole in these bytes; the rest is for Autobahn's parser."""
        at = 0
        while self.state == self.STATE_OPEN:
            found = whole_message(data, at, self.factory.message_bytes)
            if found is None:
                break
            payload, binary, at = found
            self._finished_one = True
            self.onMessage(payload, binary)
        if at and self.autoPingTimeoutCall and self.autoPingRestartOnAnyTraffic:
            self._cancelAutoPingTimeoutCall()
        return data[at:] if at else data

    def onMessageEnd(self) -> None:
        """A message is whole."""
        self._finished_one = True
        super().onMessageEnd()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a message on. An exception here would drop the connection and every stream on it."""
        try:
            self.application.message(payload, isBinary)
        except Exception:
            self._log.failure("a message could not be handled")
            self.close(CLOSE_INTERNAL, "internal error")

    def processControlFrame(self) -> bool:
        """A ping between two messages is a beginning and an end; one within a message buys it no time."""
        if not self.in_message:
            self._finished_one = True
        return cast(bool, super().processControlFrame())

    def message_overdue(self) -> None:
        """A message was begun and not ended in time."""
        if not self.failedByMe:
            self._fail_connection(CLOSE_POLICY, "a message was not completed in time")

    # What ends it ---------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """
        Start the closing handshake, once.

        Args:
            code: Any of RFC 6455; Autobahn's own `sendClose` takes none that a server would use.
            reason: At most 123 bytes in UTF-8.
        """
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason.encode("utf-8"))

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Every orderly ending passes here, whoever began it: nothing may follow a close frame."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self._leave()

    def _closeConnection(self, abort: bool = False) -> None:
        """Give what is still in the buffer a moment to leave; a client that reads nothing would keep it for ever."""
        if self._gathered is not None and not abort:
            self._gathered.flush()
        self._leave()
        super()._closeConnection(abort)
        if not abort and self._linger is None:
            factory = self.factory
            self._linger = factory.timers.call_later(factory.limits.handshake_s, self.transport.abortConnection)

    def _leave(self) -> None:
        """The client can be told nothing any more."""
        if self._is_open:
            self._is_open = False
            self.outbox.close()
            self.application.left()

    def onAutoPingTimeout(self) -> None:
        """
        No pong in time. While we do not read, or the ping waits behind a slow reader's bytes, that is no sign of death;
        such a client has `stalled_s`.
        """
        if self._is_open and self._emptied != self.outbox.emptied:
            self._emptied = self.outbox.emptied
            self._slow_since = self.factory.clock.seconds()
        silent = self.factory.clock.seconds() - self._slow_since
        limits = self.factory.limits
        slow = self._is_open and (self.outbox.paused or silent < limits.ping_timeout_s)
        if slow and silent < limits.stalled_s:
            self.autoPingTimeoutCall = self.factory.timers.call_later(limits.ping_timeout_s, self.onAutoPingTimeout)
        else:
            super().onAutoPingTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        if self._linger is not None:
            self._linger.cancel()
        super().connectionLost(reason)
        self.factory.forget(self)
        self._leave()
        self.application.closed()


class WheelTimers:
    """
    A wheel in the form that Autobahn asks of its batched timer.

    Args:
        wheel: Shared by everything in the process.
    """

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel

    def call_later(self, delay_s: float, call: Callable[..., object], *args: object) -> Any:
        """Call back after a delay; the answer has `cancel()`."""
        return self._wheel.schedule(delay_s, (lambda: call(*args)) if args else call)


class GatewaySocketFactory(WebSocketServerFactory):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    Makes the sockets of one server and keeps count of them.

    Args:
        reactor: For Autobahn.
        clock: Monotonic seconds.
        wheel: Timers.
        limits: See there.
        turn: Tells the end of a turn, when messages leave.
    """

    protocol = GatewaySocket

    def __init__(
        self, reactor: Any, clock: IReactorTime, wheel: Wheel, limits: SocketLimits, turn: Turn | None = None
    ) -> None:
        super().__init__(server="aigw", reactor=reactor)
        self.turn = turn or Turn(clock)
        self.clock = clock
        self.limits = limits
        # Autobahn would use timers of the global reactor otherwise.
        self.timers = self._batched_timer = WheelTimers(wheel)
        # Of a message in one frame.
        self.message_bytes = min(limits.frame_bytes, limits.message_bytes)
        self.open_sockets = 0
        self.unfinished: dict[GatewaySocket, Any] = {}
        self._wheel = wheel
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            # A text frame that is not UTF-8 gets an error of its own; Autobahn would close the socket and its streams.
            utf8validateIncoming=False,
            requireMaskedClientFrames=True,
            maxFramePayloadSize=limits.frame_bytes,
            maxMessagePayloadSize=limits.message_bytes,
            autoFragmentSize=0,
            failByDrop=False,
            echoCloseCodeReason=False,
            openHandshakeTimeout=limits.handshake_s,
            closeHandshakeTimeout=limits.handshake_s,
            tcpNoDelay=True,
            # Compression costs 46 KB a connection, and a bomb of zeros a gigabyte.
            perMessageCompressionAccept=_no_compression,
            autoPingInterval=limits.ping_interval_s,
            autoPingTimeout=limits.ping_timeout_s,
            autoPingSize=12,
            # Origins are judged before the upgrade, on twisted.web's headers.
            allowedOrigins=["*"],
            allowNullOrigin=True,
            # The same goes for the count of sockets; this is a second fence.
            maxConnections=limits.sockets,
        )

    @property
    def full(self) -> bool:
        """Whether there are as many sockets as there may be."""
        return self.open_sockets >= self.limits.sockets

    def mark_unfinished(self, socket: GatewaySocket, unfinished: bool, anew: bool) -> None:
        """
        Start, restart or stop the clock on a message that has begun and not ended.

        Args:
            socket: Of the message.
            unfinished: Whether there is one.
            anew: Whether it is another one than before.
        """
        timer = self.unfinished.get(socket)
        if not unfinished:
            if timer is not None:
                del self.unfinished[socket]
                timer.cancel()
        elif timer is None:
            self.unfinished[socket] = self._wheel.schedule(self.limits.message_s, socket.message_overdue)
        elif anew:
            timer.reset(self.limits.message_s)

    def forget(self, socket: GatewaySocket) -> None:
        """A socket is gone."""
        self.open_sockets -= 1
        self.mark_unfinished(socket, False, False)

    def upgrade(
        self, request: Request, application: Any, protocol: Callable[[], GatewaySocket] = GatewaySocket
    ) -> None:
        """
        Turn an HTTP request into a WebSocket. Authentication is done by then.

        Args:
            request: A GET that asks for a WebSocket; nothing may have been written to it.
            application: An `ISocketApplication`.
            protocol: Makes the socket.
        """
        self.open_sockets += 1
        channel: Any = request.channel
        socket = protocol()
        socket.factory = self
        socket.application = application
        transport, channel.transport = channel.transport, None
        channel.upgraded(socket)
        _connect(transport, socket)
        socket.makeConnection(transport)
        # The channel paused reading while its request was served.
        transport.resumeProducing()
        # What came while the request was being served; twisted.web keeps it for the next request.
        early, channel._dataBuffer = channel._dataBuffer, []
        socket.dataReceived(b"".join((_handshake(request), *early)))


def _no_compression(_: object) -> None:
    """Accept no compression offer."""


def _set_buffer(transport: Any, waiting_bytes: int) -> None:
    """Let a transport hold so many bytes before it pauses its producer."""
    while transport is not None:
        if hasattr(transport, "bufferSize"):
            transport.bufferSize = waiting_bytes
        transport = getattr(transport, "transport", None)


def _connect(transport: ITransport, protocol: GatewaySocket) -> None:
    """Make a transport deliver to another protocol than the one that it was made for."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    elif isinstance(getattr(transport, "protocol", None), ProtocolWrapper):
        transport.protocol.wrappedProtocol = protocol  # type: ignore[attr-defined]  # TLS over a socket
    else:
        transport.protocol = protocol  # type: ignore[attr-defined]  # every Twisted transport has one


def _handshake(request: Request) -> bytes:
    """The upgrade request for Autobahn, made of the headers that the handshake is about."""
    # Address and host were read by then, and their bytes could end a line for Autobahn.
    lines = [b"GET / HTTP/1.1", b"host: localhost"]
    for name in _HANDSHAKE:
        values = request.requestHeaders.getRawHeaders(name)
        if values:
            lines.append(name + b": " + b", ".join(values))
    return b"\r\n".join([*lines, b"", b""])
