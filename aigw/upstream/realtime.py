"""`IRealtimeUpstream`: WebSockets to providers, over connections that are made and verified like all others."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import (
    ConnectTimeout,
    FirstByteTimeout,
    GatewayError,
    InternalError,
    InvalidField,
    ProviderFailed,
    ProviderQueueFull,
    TotalTimeout,
)
from aigw.interfaces import IRealtimeSocket, IRealtimeUpstream
from aigw.serving.wheel import Timer, Wheel
from aigw.upstream.reach import Reach, connect_failed
from aigw.upstream.realtime_socket import ProviderSocket, ProviderSockets
from aigw.upstream.request import Site, site, split_url
from aigw.upstream.settings import RealtimeSettings
from aigw.upstream.upgrade import UpgradeAnswer, upgrade_head
from aigw.values.realtime import RealtimeRequest


@implementer(IRealtimeSocket)
class ProviderLeg:
    """
    Stands between a socket and its receiver: clocks, pauses, and one end.

    Connecting, waiting for the answer and the session follow each other, so one timer serves their three clocks; it is
    known by the error that it would end the leg with.

    Args:
        wheel: Runs the clocks.
        request: To be sent.
        receiver: An `IRealtimeReceiver`.
        gone: Called once, when nothing of the leg is left.
    """

    _log = Logger()

    def __init__(
        self, wheel: Wheel, request: RealtimeRequest, receiver: Any, gone: Callable[[ProviderLeg], None]
    ) -> None:
        self._clocks = request.clocks
        self._receiver = receiver
        self._gone = gone
        self._over = False
        self._open = False
        self._paused = False
        self._host = ""
        self._socket: ProviderSocket | None = None
        self._connecting: Deferred[Any] | None = None
        self._phase: type[ProviderFailed] = ConnectTimeout
        self._timer = Timer(wheel, lambda: self._end(self._phase()))
        self._wind(ConnectTimeout, self._clocks.connect_s)

    def begin(
        self, endpoint: IStreamClientEndpoint, place: Site, sockets: ProviderSockets, handshake: Handshake
    ) -> None:
        """
        Connect.

        Args:
            endpoint: Of the provider.
            place: The same, by its name.
            sockets: Makes the socket.
            handshake: What to say on it.
        """
        self._host = place.host
        if self._over:
            self._gone(self)
            return
        self._connecting = connecting = endpoint.connect(sockets)
        connecting.addCallbacks(self._connected, self._unconnected, callbackArgs=(handshake, place.secure))
        connecting.addErrback(lambda failure: self._log.failure("A connection was not taken", failure=failure))

    def give_up(self, error: GatewayError) -> None:
        """There is nothing to connect to."""
        self._end(error)
        self._gone(self)

    # IRealtimeSocket --------------------------------------------------------------------------------------------------

    def send(self, payload: bytes, binary: bool) -> None:
        """Send a message; see `IRealtimeSocket`."""
        if self._open and not self._over and self._socket is not None:
            self._socket.send(payload, binary)

    def pause(self) -> None:
        """Take no more messages; see `IRealtimeSocket`."""
        self._paused = True
        if self._open and not self._over and self._socket is not None:
            self._socket.hold()

    def resume(self) -> None:
        """Go on; see `IRealtimeSocket`."""
        self._paused = False
        if self._open and not self._over and self._socket is not None:
            self._socket.release()

    def close(self, code: int | None, reason: str) -> None:
        """Close; see `IRealtimeSocket`."""
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        if self._socket is not None:
            self._socket.leave(code, reason)
        elif self._connecting is not None:
            self._connecting.cancel()

    def drop(self) -> None:
        """Cut the connection, whatever is under way on it."""
        self.close(1001, "")
        if self._socket is not None:
            self._socket.transport.abortConnection()

    # The connection ---------------------------------------------------------------------------------------------------

    def _connected(self, socket: ProviderSocket, handshake: Handshake, secure: bool) -> None:
        self._connecting = None
        self._socket = socket
        socket.adopt(self, handshake.head, handshake.key, handshake.answer, secure)
        if self._over:
            socket.transport.abortConnection()

    def _unconnected(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._end(connect_failed(self._host, failure.value))
        self._gone(self)

    # `Owner` of the socket --------------------------------------------------------------------------------------------

    def asked(self) -> None:
        """The upgrade is on its way."""
        self._wind(FirstByteTimeout, self._clocks.first_byte_s)

    def opened(self, subprotocol: str | None) -> None:
        """The provider agreed."""
        if self._over:
            return
        self._open = True
        self._wind(TotalTimeout, self._clocks.total_s)
        if self._paused:
            self.pause()
        self._tell(lambda: self._receiver.accepted(subprotocol))

    def refused(self, answer: UpgradeAnswer) -> None:
        """The provider gave another answer."""
        if not self._over:
            self._over = True
            self._timer.cancel()
            self._tell(lambda: self._receiver.refused(answer.status, tuple(answer.fields), answer.body))

    def message(self, payload: bytes, binary: bool) -> None:
        """A whole message has come."""
        if not self._over:
            self._tell(lambda: self._receiver.message(payload, binary))

    def slow(self) -> None:
        """The provider reads slowly."""
        if not self._over:
            self._tell(self._receiver.pause)

    def caught_up(self) -> None:
        """The provider has caught up."""
        if not self._over:
            self._tell(self._receiver.resume)

    def closed(self, code: int | None, reason: str) -> None:
        """The provider has said goodbye."""
        if not self._over:
            self._over = True
            self._timer.cancel()
            self._tell(lambda: self._receiver.closed(code, reason))

    def broken(self, error: GatewayError) -> None:
        """The socket cannot be used any more."""
        self._end(error)

    def unreachable(self, reason: BaseException | None) -> None:
        """The connection was lost before it was verified."""
        self._end(connect_failed(self._host, reason))

    def lost(self) -> None:
        """The connection is gone."""
        self._gone(self)

    # Clocks and ends --------------------------------------------------------------------------------------------------

    def _wind(self, phase: type[ProviderFailed], clock_s: float) -> None:
        """Run another clock; one of 0 is off."""
        self._phase = phase
        if clock_s and not self._over:
            self._timer.reset(clock_s)
        else:
            self._timer.cancel()

    def _tell(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            self._log.failure("A receiver failed in the middle of a session")
            self._end(InternalError())

    def _end(self, error: GatewayError) -> None:
        if self._over:
            return
        self.close(1011 if self._open else None, "")
        try:
            self._receiver.failed(error)
        except Exception:
            self._log.failure("A receiver failed at the end of a session")


class Handshake:
    """
    The upgrade of one socket.

    Args:
        request: To be sent.
        target: Path and query string of its URL.
        host: Value of the Host field.
        answer_bytes: Limit of the answer.
    """

    def __init__(self, request: RealtimeRequest, target: bytes, host: bytes, answer_bytes: int) -> None:
        self.key = base64.b64encode(os.urandom(16))
        self.head = upgrade_head(target, host, request.headers, request.subprotocols, self.key)
        self.answer = UpgradeAnswer(self.key, request.subprotocols, answer_bytes)


@implementer(IRealtimeUpstream)
class RealtimeUpstream:
    """
    Opens WebSockets to `https://` and `http://` addresses.

    Args:
        clock: Puts off bad news that comes at once: the receiver's owner has not got its leg yet.
        reach: Makes endpoints.
        sockets: Makes sockets.
        wheel: Runs the clocks of all legs.
        limits: See there.
    """

    def __init__(
        self, clock: IReactorTime, reach: Reach, sockets: ProviderSockets, wheel: Wheel, limits: RealtimeSettings
    ) -> None:
        self._clock = clock
        self._reach = reach
        self._sockets = sockets
        self._wheel = wheel
        self._limits = limits
        self._legs: set[ProviderLeg] = set()
        self._emptied: Deferred[None] | None = None

    def connect(self, request: RealtimeRequest, receiver: Any) -> ProviderLeg:
        """Open a socket; see `IRealtimeUpstream`."""
        leg = ProviderLeg(self._wheel, request, receiver, self._forget)
        full = len(self._legs) >= self._limits.sockets
        self._legs.add(leg)
        try:
            if full or self._emptied is not None:
                raise ProviderQueueFull()
            origin, target = split_url(request.url)
            place = site(origin)
            handshake = Handshake(request, target, place.header, self._limits.answer_bytes)
            endpoint = self._endpoint(place, request.trusted)
        except GatewayError as error:
            self._clock.callLater(0, leg.give_up, error)
            return leg
        self._clock.callLater(0, leg.begin, endpoint, place, self._sockets, handshake)
        return leg

    def _endpoint(self, place: Site, trusted: bool) -> IStreamClientEndpoint:
        try:
            return self._reach.endpoint(place, trusted)
        except ValueError:
            raise InvalidField("the provider's address has an impossible host name") from None

    @property
    def open_sockets(self) -> int:
        """Sockets that are open or being opened."""
        return len(self._legs)

    def _forget(self, leg: ProviderLeg) -> None:
        self._legs.discard(leg)
        if self._emptied is not None and not self._legs and not self._emptied.called:
            self._emptied.callback(None)

    def close(self) -> Deferred[None]:
        """
        Cut every socket; open no more.

        Returns:
            Fires when the last one is gone.
        """
        if self._emptied is None:
            self._emptied = Deferred()
            for leg in list(self._legs):
                leg.drop()
            if not self._legs and not self._emptied.called:
                self._emptied.callback(None)
        return self._emptied
