"""Realtime sockets in memory, played by a test."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from aigw.errors import GatewayError
from aigw.interfaces import IRealtimeSocket, IRealtimeUpstream
from aigw.values.realtime import RealtimeRequest
from aigw.values.step import Headers


@implementer(IRealtimeSocket)
class PlayedSocket:
    """
    A socket to a provider that the test plays. What the provider does after its end, or ours, goes nowhere.

    Attributes:
        request: As it was sent.
        sent: Messages that came from the gateway.
        paused: Whether the gateway wants no messages for now.
        closed_with: Code and reason with which the gateway closed, None before.
        over: Whether nothing more can be told.
    """

    def __init__(self, request: RealtimeRequest, receiver: Any) -> None:
        self.request = request
        self.sent: list[tuple[bytes, bool]] = []
        self.paused = False
        self.closed_with: tuple[int | None, str] | None = None
        self.over = False
        self._receiver = receiver
        self._open = False

    # What the gateway does --------------------------------------------------------------------------------------------

    def send(self, payload: bytes, binary: bool) -> None:
        """See `IRealtimeSocket`."""
        if self._open and not self.over:
            self.sent.append((payload, binary))

    def pause(self) -> None:
        """See `IRealtimeSocket`."""
        self.paused = True

    def resume(self) -> None:
        """See `IRealtimeSocket`."""
        self.paused = False

    def close(self, code: int | None, reason: str) -> None:
        """See `IRealtimeSocket`."""
        if not self.over:
            self.over = True
            self.closed_with = code, reason

    # What the provider does -------------------------------------------------------------------------------------------

    def accept(self, subprotocol: str | None = None) -> None:
        """Agree."""
        if not self.over and not self._open:
            self._open = True
            self._receiver.accepted(subprotocol)

    def refuse(self, status: int = 403, headers: Headers = (), body: bytes = b"") -> None:
        """Give another answer."""
        if not self.over and not self._open:
            self.over = True
            self._receiver.refused(status, headers, body)

    def say(self, payload: bytes, binary: bool = False) -> None:
        """Send a message."""
        if self._open and not self.over:
            self._receiver.message(payload, binary)

    def slow(self) -> None:
        """Read nothing for now."""
        if self._open and not self.over:
            self._receiver.pause()

    def caught_up(self) -> None:
        """Read again."""
        if self._open and not self.over:
            self._receiver.resume()

    def leave(self, code: int | None = 1000, reason: str = "") -> None:
        """Close in good order."""
        if self._open and not self.over:
            self.over = True
            self._receiver.closed(code, reason)

    def fail(self, error: GatewayError) -> None:
        """Be gone."""
        if not self.over:
            self.over = True
            self._receiver.failed(error)


@implementer(IRealtimeUpstream)
class PlayedSockets:
    """
    Opens sockets that the test plays.

    Attributes:
        sockets: Every socket that was asked for, in order.
    """

    def __init__(self) -> None:
        self.sockets: list[PlayedSocket] = []

    def connect(self, request: RealtimeRequest, receiver: Any) -> PlayedSocket:
        """See `IRealtimeUpstream`."""
        socket = PlayedSocket(request, receiver)
        self.sockets.append(socket)
        return socket
