"""Writing without waiting for the reactor to say that a socket can be written to: it nearly always can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Connection

from aigw.serving.turn import Turn

# What is gathered within one turn; beyond it the transport gets it, and tells whether its reader is slow.
GATHERED_BYTES = 65_536


def send_now(transport: Any, data: bytes) -> None:
    """
    Write to a transport, and hand the kernel at once what it takes.

    `transport.write` registers the socket with the reactor, waits for it to be told that the kernel has room, and
    unregisters it: two system calls more than the one that sends. Only what the kernel does not take goes that way.

    Args:
        transport: Of a connection; TCP without TLS gains by this, any other is simply written to.
        data: Goes behind everything that was written before.
    """
    # Whatever wraps a TCP transport, such as TLS, shows its attributes, and must not be passed by.
    plain = isinstance(transport, Connection) and not transport.TLS
    # What waits in the transport must go first.
    if (
        not plain
        or transport._tempDataLen
        or transport.dataBuffer
        or not transport.connected
        or transport.disconnecting
    ):
        transport.write(data)
        return
    sent = transport.writeSomeData(data)
    if not isinstance(sent, int) or sent < 0:
        # The connection is lost; the reactor finds that out in its own way, and tells the protocol.
        transport.write(data)
    elif sent < len(data):
        transport.write(data[sent:])


class Gathered:
    """
    What is written to one connection within a turn, sent as one piece at its end.

    Args:
        transport: Gives the transport.
        turn: Tells the end of the turn.
    """

    __slots__ = ("_bytes", "_pieces", "_transport", "_turn")

    def __init__(self, transport: Callable[[], Any], turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._pieces: list[bytes] = []
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Send these bytes at the end of the turn, or now when much waits already."""
        if not self._pieces:
            self._turn.soon(self.flush)
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes > GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits; harmless when nothing does."""
        pieces = self._pieces
        if pieces:
            self._pieces = []
            self._bytes = 0
            send_now(self._transport(), pieces[0] if len(pieces) == 1 else b"".join(pieces))
