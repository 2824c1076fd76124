"""What a parent and its workers say to each other, in frames: four bytes of length, then MessagePack."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

import msgspec

from aigw.controls.token_file import TokenEntry
from aigw.settings import Settings
from aigw.workers.reports import Report

# A worker writes to its parent here; standard input is the other direction, 1 and 2 are lines for the parent's log.
REPORTS = 3
# The first of the sockets that a worker accepts from.
FIRST_SOCKET = 4

_LENGTH = Struct(">I")


class SharedSocket(msgspec.Struct, frozen=True):
    """
    A socket to accept from.

    Attributes:
        endpoint: What it was opened for, as in the settings.
        family: Of its address.
        descriptor: Its number in the worker.
    """

    endpoint: str
    family: int
    descriptor: int


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """
    The first message to a worker.

    Attributes:
        settings: Of the worker; its share, where something is shared out.
        tokens: All of them.
        sockets: To accept from.
        dsn: Of the embedded database; empty while it is being started, and where there is none.
    """

    settings: Settings
    tokens: tuple[TokenEntry, ...]
    sockets: tuple[SharedSocket, ...]
    dsn: str


class DatabaseStarted(msgspec.Struct, frozen=True, tag=True):
    """
    The embedded database takes connections.

    Attributes:
        dsn: Where.
    """

    dsn: str


class TokensChanged(msgspec.Struct, frozen=True, tag=True):
    """
    Tokens were made or revoked.

    Attributes:
        tokens: Those.
    """

    tokens: tuple[TokenEntry, ...]


class Tell(msgspec.Struct, frozen=True, tag=True):
    """
    A report is wanted now.

    Attributes:
        round: To be repeated in it.
    """

    round: int


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Accept nothing more, finish, and end."""


class Serving(msgspec.Struct, frozen=True, tag=True):
    """The worker accepts connections."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """
    The worker cannot run.

    Attributes:
        text: Why, for the owner.
    """

    text: str


ToWorker = Welcome | DatabaseStarted | TokensChanged | Tell | Drain
ToParent = Serving | Failed | Report

_encoder = msgspec.msgpack.Encoder()
to_worker = msgspec.msgpack.Decoder(ToWorker)
to_parent = msgspec.msgpack.Decoder(ToParent)


def framed(message: ToWorker | ToParent) -> bytes:
    """A message as it goes into a pipe."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts what comes out of a pipe into messages. Whoever writes there is a process of our own, and is believed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                return
            payload = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            yield payload
