"""The provider of the storm: notes whom it saw, and answers each request as that asks to be answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httptools
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.integration.crash.tally import Tally

# Carries the event id to the provider; a header is read as soon as the head is there.
HEADER = "x-storm-id"
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class StormProvider:
    """
    Args:
        reactor: Listens.
        tally: Gets the id of every request whose head came, even when its body never did.
    """

    def __init__(self, reactor: Any, tally: Tally) -> None:
        self.reactor = reactor
        self.tally = tally
        factory = Factory.forProtocol(lambda: _Line(self))
        factory.noisy = False
        self._port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port.getHost().port}"

    def close(self) -> Any:
        """Stop listening; connections end with the gateway."""
        return self._port.stopListening()


class _Line(Protocol):
    """One connection; the gateway sends no second request before the first is answered."""

    transport: Any

    def __init__(self, provider: StormProvider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._id = ""
        self._body: list[bytes] = []
        self._next: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()

    # Called by httptools ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == HEADER.encode():
            self._id = value.decode()
            self._provider.tally.note_seen(self._id)

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        asked = json.loads(b"".join(self._body))["storm"]
        self._play(_answer(self._id, asked), asked["pace_s"])

    def _play(self, pieces: Iterator[bytes], pace_s: float) -> None:
        """Send one piece now and the next one later; an empty piece cuts the connection."""
        piece = next(pieces, None)
        if piece is None:
            return
        if not piece:
            self.transport.abortConnection()
            return
        self.transport.write(piece)
        self._next = self._provider.reactor.callLater(pace_s, self._play, pieces, pace_s)


def _answer(name: str, asked: dict[str, Any]) -> Iterator[bytes]:
    """The pieces of an answer: a stream, a whole one, an error, or one that breaks off."""
    if asked["kind"] in ("whole", "error"):
        body = json.dumps({"id": name, "padding": "x" * asked["padding"]}).encode()
        status = b"200 OK" if asked["kind"] == "whole" else b"500 Broken"
        yield b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        yield body
        return
    yield _STREAM
    for number in range(asked["events"]):
        yield _chunk(b"data: " + json.dumps({"id": name, "number": number}).encode() + b"\n\n")
    if asked["kind"] == "cut":
        yield b""
    yield _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
