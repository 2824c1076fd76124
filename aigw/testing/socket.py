"""A connection in memory: a client and a real server, with buffers that fill up and readers that stop reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport
from zope.interface import implementer

# A test that moves bytes for so many rounds goes round in circles.
ROUNDS = 100_000


@implementer(IPushProducer)
class Pipe(FakeTransport):
    """
    One end of a connection. Other than its base it has flow control: a full buffer pauses the producer, and what is
    not read stays with the sender.

    Attributes:
        bufferSize: Bytes that may wait before the producer is paused, as on Twisted's own transports.
        reading: Whether bytes are taken from the other end.
        aborted: Whether `abortConnection` was called.
        lost: Whether the protocol knows that the connection is gone.
    """

    bufferSize = 65_536

    def __init__(self, protocol: Any, isServer: bool) -> None:
        super().__init__(protocol, isServer)
        self.reading = True
        self.aborted = False
        self.lost = False
        self.waiting_bytes = 0
        self._told_to_pause = False

    def write(self, data: bytes) -> None:
        """Put bytes into the buffer."""
        if self.disconnecting or self.lost:
            return
        self.stream.append(data)
        self.waiting_bytes += len(data)
        if self.producer is not None and self.streamingProducer and self.waiting_bytes > self.bufferSize:
            self._told_to_pause = True
            self.producer.pauseProducing()

    def take(self, limit: int | None = None) -> bytes:
        """Bytes out of the buffer, all of them or the first so many."""
        data = b"".join(self.stream)
        data, rest = (data, b"") if limit is None else (data[:limit], data[limit:])
        self.stream = [rest] if rest else []
        self.waiting_bytes = len(rest)
        return data

    def taken(self) -> None:
        """The other end has read: go on once the buffer is empty."""
        if self._told_to_pause and not self.waiting_bytes:
            self._told_to_pause = False
            if self.producer is not None:
                self.producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        self.reading = True

    def stopProducing(self) -> None:
        """Read no more, and close."""
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        """Send nothing more; the other end reads to the end and then closes, like most programs."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close at once; what waits is lost."""
        self.aborted = True
        self.disconnecting = True

    def lose(self) -> None:
        """Tell the protocol that the connection is gone."""
        if not self.lost:
            self.lost = True
            self.disconnecting = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Link:
    """
    A client and a server, joined.

    Args:
        factory: Of the server; real.
        client: The other end.
        clock: The server's time.

    Attributes:
        refused: Whether the server took no connection at all.
    """

    def __init__(self, factory: Any, client: Protocol, clock: Clock) -> None:
        self.clock = clock
        self.client_pipe = Pipe(client, isServer=False)
        protocol = factory.buildProtocol(self.client_pipe.getPeer())
        self.refused = protocol is None
        self.server_pipe = Pipe(protocol, isServer=True)
        if protocol is not None:
            protocol.makeConnection(self.server_pipe)
            client.makeConnection(self.client_pipe)

    @property
    def closed(self) -> bool:
        """Whether the server's end is closed."""
        return self.server_pipe.lost

    def settle(self) -> None:
        """Move bytes, and run what is due now, until nothing happens any more."""
        for _ in range(ROUNDS):
            self.clock.advance(0)
            if not any(
                [self._move(self.client_pipe, self.server_pipe), self._move(self.server_pipe, self.client_pipe)]
            ):
                return
        raise AssertionError("the link does not come to rest")

    def advance(self, seconds: float, step_s: float = 0.1) -> None:
        """Let time pass in small steps, moving bytes after each."""
        self.settle()
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            self.settle()

    def read_some(self, limit: int) -> None:
        """Let a client that does not read take so many bytes."""
        data = self.server_pipe.take(limit)
        self.client_pipe.protocol.dataReceived(data)
        self.server_pipe.taken()

    def vanish(self) -> None:
        """The client's machine is gone, and the server learns of it."""
        self.client_pipe.lose()
        self.server_pipe.lose()

    def _move(self, source: Pipe, target: Pipe) -> bool:
        if source.lost:
            return False
        if source.aborted:
            source.take()
        elif source.stream and target.reading and not target.lost:
            target.protocol.dataReceived(source.take())
            source.taken()
            return True
        if source.disconnecting and not source.stream:
            source.lose()
            target.lose()
            return True
        return False


class RawClient(Protocol):
    """
    A client of bytes.

    Attributes:
        received: All bytes that came.
        lost: Whether the connection is gone.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.lost = True


class SocketClient(WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    A WebSocket client as Autobahn ships it.

    Attributes:
        texts: Every message that came, as text.
        pings: Payloads of the pings that came.
        is_connected: Whether the handshake is done and nobody has closed.
        close_code: With which the connection was closed, None before.
        subprotocol: That the server selected.
        answers_pings: Set it to False for a client that is as good as dead.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pings: list[bytes] = []
        self.is_connected = False
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.subprotocol: str | None = None
        self.answers_pings = True

    def onConnect(self, response: Any) -> None:
        """The server has agreed."""
        self.subprotocol = response.protocol

    def onOpen(self) -> None:
        """The handshake is done."""
        self.is_connected = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep what comes; a gateway sends text only."""
        if isBinary:
            raise AssertionError("the gateway sent a binary message")
        self.texts.append(payload.decode("utf-8"))

    def onPing(self, payload: bytes) -> None:
        """Answer, unless the test wants silence."""
        self.pings.append(payload)
        if self.answers_pings:
            super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is closed."""
        self.is_connected = False
        self.close_code = code
        self.close_reason = reason

    # For tests ------------------------------------------------------------------------------------------------------

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message that came, decoded."""
        return [json.loads(text) for text in self.texts]

    def about(self, event_id: str) -> list[dict[str, Any]]:
        """The messages of one request."""
        return [message for message in self.messages if message["metadata"]["eventId"] == event_id]

    def send(self, message: object) -> None:
        """Send a message: text, bytes as text, or a value as JSON."""
        if not isinstance(message, bytes):
            message = (message if isinstance(message, str) else json.dumps(message)).encode("utf-8", "surrogatepass")
        self.sendMessage(message, False)


def connect_socket(
    factory: Any,
    clock: Clock,
    path: str = "/v1/local/default",
    headers: Mapping[str, str] | None = None,
    subprotocols: Iterable[str] = (),
    origin: str | None = None,
) -> tuple[Link, SocketClient]:
    """
    Connect a WebSocket client to a server.

    Args:
        factory: Of the server; real.
        clock: The server's time.
        path, headers, subprotocols, origin: Of the upgrade.
    Returns:
        The link, come to rest, and the client. It is not connected when the server refused the upgrade.
    """
    client_factory = WebSocketClientFactory(
        f"ws://gateway.test{path}",
        origin=origin,
        protocols=list(subprotocols),
        headers=dict(headers or {}),
        reactor=clock,
    )
    # Autobahn would run these clocks on the global reactor.
    client_factory.setProtocolOptions(
        openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0, failByDrop=False
    )
    client = SocketClient()
    client.factory = client_factory
    link = Link(factory, client, clock)
    link.settle()
    return link, client
