"""A WebSocket to a provider: Autobahn's client with every limit set, begun only on a verified connection."""

from __future__ import annotations

from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import GatewayError, IdleTimeout, InvalidAnswer, ProviderFailed, ResponseTooLarge, TruncatedStream
from aigw.serving.relayed import RelayedSocket
from aigw.serving.websocket import WheelTimers
from aigw.serving.wheel import Timer, Wheel
from aigw.serving.whole_messages import WholeMessages
from aigw.upstream.settings import RealtimeSettings
from aigw.upstream.upgrade import UpgradeAnswer

_TOO_BIG = 1009


class Owner(Protocol):
    """Whoever opened a socket, and is told what becomes of it."""

    def asked(self) -> None:
        """The connection is open and verified, and the upgrade was asked for."""

    def opened(self, subprotocol: str | None) -> None:
        """The provider agreed."""

    def refused(self, answer: UpgradeAnswer) -> None:
        """The provider gave another answer."""

    def message(self, payload: bytes, binary: bool) -> None:
        """A whole message has come."""

    def slow(self) -> None:
        """What was sent waits for the provider to read."""

    def caught_up(self) -> None:
        """The provider has read all that waited."""

    def closed(self, code: int | None, reason: str) -> None:
        """The provider has said goodbye."""

    def broken(self, error: GatewayError) -> None:
        """The socket cannot be used any more."""

    def unreachable(self, reason: BaseException | None) -> None:
        """The connection was lost before it was verified."""

    def lost(self) -> None:
        """The connection is gone. Always comes, last."""


@implementer(IHandshakeListener, IPushProducer)
class ProviderSocket(RelayedSocket, WholeMessages, WebSocketClientProtocol):  # type: ignore[misc]  # untyped bases
    """
    One connection to a provider. It says nothing before `adopt`: it may have been made in a race of addresses and be
    nobody's, and its certificate is not yet verified.
    """

    factory: ProviderSockets
    _secured = False
    _owner: Owner | None = None
    _head = b""
    _key = b""
    # Set while the provider's answer to the upgrade is awaited.
    _answer: UpgradeAnswer | None = None
    _talking = False
    _linger: Timer | None = None
    # Autobahn leaves it running when the connection is lost.
    closeHandshakeTimeoutCall: Timer | None = None

    # Opening ----------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Wait to be adopted."""

    def adopt(self, owner: Owner, head: bytes, key: bytes, answer: UpgradeAnswer, secure: bool) -> None:
        """
        Take this connection.

        Args:
            owner: See there.
            head: The upgrade request.
            key: Of the handshake.
            answer: Will read what the provider says to it.
            secure: Whether a TLS handshake comes first.
        """
        self._owner, self._head, self._key, self._answer = owner, head, key, answer
        self.transport.setTcpKeepAlive(True)
        if self._secured or not secure:
            self._ask()

    def handshakeCompleted(self) -> None:
        """TLS is up and the certificate is the host's."""
        self._secured = True
        if self._owner is not None:
            self._ask()

    def _ask(self) -> None:
        assert self._owner is not None  # noqa: S101  # adopted by now
        self._secured = True
        self.transport.write(self._head)
        self._head = b""
        self._owner.asked()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the provider: its answer to the upgrade, then frames."""
        if self._talking:
            self._dataReceived(data)
        elif self._answer is None or self._head:
            # No provider speaks first.
            self.transport.abortConnection()
        else:
            self._read_answer(self._answer, data)

    def _read_answer(self, answer: UpgradeAnswer, data: bytes) -> None:
        try:
            answer.feed(data)
        except InvalidAnswer as error:
            self._tell_broken(error)
            self.transport.abortConnection()
            return
        if answer.complete and answer.status == 101:
            self._begin(answer)
        elif answer.complete:
            self._tell_refused(answer)

    def _tell_refused(self, answer: UpgradeAnswer) -> None:
        self._answer = None
        if self._owner is not None:
            self._owner.refused(answer)
        self.transport.abortConnection()

    def _begin(self, answer: UpgradeAnswer) -> None:
        """The provider agreed: from here on Autobahn reads, beginning with what it needs of a handshake."""
        self._answer = None
        self._talking = True
        self.subprotocol = answer.subprotocol
        super().connectionMade()
        self.websocket_key = self._key
        accept = next(value for name, value in answer.fields if name == b"sec-websocket-accept")
        self._dataReceived(
            b"HTTP/1.1 101 Agreed\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: "
            + accept
            + b"\r\n\r\n"
            + answer.rest
        )

    def startHandshake(self) -> None:
        """Ours is over by now; Autobahn's would write its headers from text, with a log line that shows the keys."""

    def onOpen(self) -> None:
        """Take over the transport's flow control, then let the owner begin."""
        self.transport.registerProducer(self, True)
        if self._owner is not None:
            self._owner.opened(self.subprotocol)

    # Messages ---------------------------------------------------------------------------------------------------------

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a message on."""
        if self._owner is not None:
            self._owner.message(payload, isBinary)

    def pauseProducing(self) -> None:
        """The transport's buffer is full. Comes many times for one pause."""
        if not self._stuck:
            self.stuck()
            if self._owner is not None:
                self._owner.slow()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if self._stuck:
            self.unstuck()
            if self._owner is not None:
                self._owner.caught_up()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` tells the rest."""

    # Endings ----------------------------------------------------------------------------------------------------------

    def leave(self, code: int | None, reason: str) -> None:
        """Close, and tell the owner nothing more but that the connection is gone."""
        if not self._talking:
            self.transport.abortConnection()
        elif self.close_frame or self.state != self.STATE_OPEN:
            self.dropConnection(abort=False)
        else:
            # A provider that is read from no more would never be heard to agree.
            self.release()
            self.close_with(code, reason)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """The provider says goodbye, or answers ours: either way this is over."""
        stop = super().onCloseFrame(code, reasonRaw)
        if self._owner is not None:
            self._owner.closed(self.close_code, self.close_reason)
        self.dropConnection(abort=False)
        return stop

    def _fail_connection(self, code: int = _TOO_BIG, reason: str = "") -> None:
        """The provider broke a rule or a bound; `failByDrop` makes this the end."""
        self._tell_broken(ResponseTooLarge() if code == _TOO_BIG else InvalidAnswer(reason))
        super()._fail_connection(code, reason)

    def silent(self) -> None:
        """The provider neither reads nor answers."""
        self._tell_broken(IdleTimeout())
        super().silent()

    def _tell_broken(self, error: GatewayError) -> None:
        if self._owner is not None:
            self._owner.broken(error)

    def _closeConnection(self, abort: bool = False) -> None:
        """Let what was written leave, but not for ever: TLS waits for the other side's farewell."""
        super()._closeConnection(abort)
        if not abort and self._linger is None:
            factory = self.factory
            self._linger = factory.timers.call_later(factory.limits.closing_s, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        self.forget_stall()
        for timer in (self._linger, self.closeHandshakeTimeoutCall):
            if timer is not None:
                timer.cancel()
        if self._talking:
            super().connectionLost(reason)
        owner, self._owner = self._owner, None
        if owner is None:
            return
        answer = self._answer
        if not self._secured:
            owner.unreachable(reason.value)
        elif answer is not None and answer.status:
            # Its length was told by its end.
            owner.refused(answer)
        elif not self._talking:
            owner.broken(ProviderFailed("it closed the connection without an answer"))
        else:
            owner.broken(TruncatedStream())
        owner.lost()


class ProviderSockets(WebSocketClientFactory):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    Makes the sockets to all providers.

    Args:
        reactor: For Autobahn; also tells monotonic seconds.
        wheel: Timers.
        limits: See there.
    """

    protocol = ProviderSocket
    noisy = False

    def __init__(self, reactor: Any, wheel: Wheel, limits: RealtimeSettings) -> None:
        super().__init__(reactor=reactor)
        self.clock: IReactorTime = reactor
        self.limits = limits
        # Autobahn would use timers of the global reactor otherwise.
        self.timers = self._batched_timer = WheelTimers(wheel)
        self.setProtocolOptions(
            version=18,
            # Passed on as it came: the client's own library checks it, and so does ours before it is logged.
            utf8validateIncoming=False,
            acceptMaskedServerFrames=False,
            maskClientFrames=True,
            maxFramePayloadSize=limits.frame_bytes,
            maxMessagePayloadSize=limits.message_bytes,
            autoFragmentSize=0,
            failByDrop=True,
            # That one would run on the global reactor; `closing_s` stands in for it.
            serverConnectionDropTimeout=0,
            # The call's own clock runs until the socket is open.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=limits.closing_s,
            tcpNoDelay=True,
            perMessageCompressionOffers=[],
            autoPingInterval=limits.ping_interval_s,
            autoPingTimeout=limits.ping_timeout_s,
            autoPingSize=12,
        )
