"""
A provider's realtime socket on loopback, played by a test.

```python
provider = ScriptedRealtime(reactor)
await provider.start()
provider.on_message = echo
... open a session to provider.url ...
peer = await provider.when_opened(1)
peer.say({"type": "session.created"})
await provider.close()
```
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure


class RealtimePeer(WebSocketServerProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    One session, as the provider sees it.

    Attributes:
        path: With its query string, as it was asked for.
        headers: Of the upgrade, names in lower case.
        offered: Subprotocols that were offered.
        received: Payload of each message that came, and whether it was binary.
        received_bytes: Length of all messages.
        pings: Payloads of the pings that came.
        closed_with: Code and reason of the client's close frame; None without one.
        gone: Whether the connection is lost.
    """

    factory: Any
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.path = ""
        self.headers: dict[str, str] = {}
        self.offered: list[str] = []
        self.received: list[tuple[bytes, bool]] = []
        self.received_bytes = 0
        self.pings: list[bytes] = []
        self.closed_with: tuple[int | None, str] | None = None
        self.gone = False

    # What the test does -----------------------------------------------------------------------------------------------

    def say(self, message: object) -> None:
        """Send a message: bytes as binary, text as it is, anything else as JSON."""
        if isinstance(message, bytes):
            self.sendMessage(message, True)
        else:
            self.sendMessage((message if isinstance(message, str) else json.dumps(message)).encode(), False)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Start the closing handshake, with any code."""
        self.sendCloseFrame(code, reason.encode() if code is not None else None)

    def vanish(self) -> None:
        """Cut the connection without a word."""
        self.transport.abortConnection()

    def stop_reading(self) -> None:
        """Leave what comes with the sender."""
        self.transport.pauseProducing()

    def read_on(self) -> None:
        """Read again."""
        self.transport.resumeProducing()

    @property
    def texts(self) -> list[Any]:
        """The text messages that came, decoded."""
        return [json.loads(payload) for payload, binary in self.received if not binary]

    # Autobahn's hooks -------------------------------------------------------------------------------------------------

    def onConnect(self, request: Any) -> str | Deferred[str | None] | None:
        """Agree, or refuse if the test wants it so."""
        self.path = self.http_request_uri
        self.headers = request.headers
        self.offered = request.protocols
        provider: ScriptedRealtime = self.factory.provider
        provider.asked.append(self)
        provider.check()
        if provider.refusal is not None:
            raise ConnectionDeny(provider.refusal[0], "Scripted")
        if provider.thinks:
            thought: Deferred[str | None] = Deferred()
            provider.thoughts.append(thought)
            provider.check()
            return thought
        return next((name for name in self.offered if name == provider.subprotocol), None)

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: object = None) -> None:
        """A refusal with the body that the test gave."""
        refusal = self.factory.provider.refusal
        body, content_type = (b"", "text/plain") if refusal is None else refusal[1:]
        head = f"HTTP/1.1 {code} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.sendData(head.encode() + body)

    def onOpen(self) -> None:
        """The session is open."""
        self.factory.provider.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep what comes, and let the script answer."""
        provider: ScriptedRealtime = self.factory.provider
        self.received_bytes += len(payload)
        if provider.keeps_messages:
            self.received.append((payload, isBinary))
        if provider.on_message is not None:
            provider.on_message(self, payload, isBinary)
        provider.check()

    def onPing(self, payload: bytes) -> None:
        """Keep it, and answer."""
        self.pings.append(payload)
        super().onPing(payload)
        self.factory.provider.check()

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        """Keep what the client says."""
        self.closed_with = (code, (reasonRaw or b"").decode())
        return super().onCloseFrame(code, reasonRaw)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        super().connectionLost(reason)
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
        self.gone = True
        self.factory.provider.lost(self)

    def connectionMade(self) -> None:
        """A connection is there; what comes of it will show."""
        super().connectionMade()
        self.factory.provider.connected(self)


def echo(peer: RealtimePeer, payload: bytes, binary: bool) -> None:
    """Send back what came."""
    peer.sendMessage(payload, binary)


def script(answers: Mapping[str, list[object]]) -> Callable[[RealtimePeer, bytes, bool], None]:
    """Answer each JSON message by its `type`, with messages in the forms that `RealtimePeer.say` takes."""

    def play(peer: RealtimePeer, payload: bytes, binary: bool) -> None:
        for answer in [] if binary else answers.get(json.loads(payload).get("type", ""), []):
            peer.say(answer)

    return play


class ScriptedRealtime:
    """
    Args:
        reactor: Listens.
        tls: A context factory, to speak TLS.
    Attributes:
        asked: Every upgrade that came, in order.
        sessions: Those that were opened.
        on_message: What answers messages; None answers none.
        subprotocol: To choose where it is offered.
        refusal: Status, body and content type to refuse upgrades with; None agrees.
        keeps_messages: False counts them only.
        thinks: True leaves upgrades without an answer.
        thoughts: For each of those, what makes it be answered when it fires with a subprotocol or None.
    """

    def __init__(self, reactor: Any, tls: Any = None) -> None:
        self._reactor = reactor
        self._tls = tls
        self._port: IListeningPort | None = None
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._lines: set[RealtimePeer] = set()
        self.asked: list[RealtimePeer] = []
        self.sessions: list[RealtimePeer] = []
        self.on_message: Callable[[RealtimePeer, bytes, bool], None] | None = None
        self.subprotocol = ""
        self.refusal: tuple[int, bytes, str] | None = None
        self.keeps_messages = True
        self.thinks = False
        self.thoughts: list[Deferred[str | None]] = []

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        factory = WebSocketServerFactory(reactor=self._reactor)
        factory.protocol = RealtimePeer
        factory.provider = self
        factory.noisy = False
        factory.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0)
        if self._tls is None:
            self._port = self._reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            self._port = self._reactor.listenSSL(0, factory, self._tls, interface="127.0.0.1")

    @property
    def port(self) -> int:
        """Number of the TCP port."""
        assert self._port is not None, "the provider has not been started"
        return int(self._port.getHost().port)  # type: ignore[attr-defined]  # a TCP port has an IPv4Address

    @property
    def url(self) -> str:
        """Scheme, host and port, as settings and requests have it."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def when(self, what: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at after each event."""
        done: Deferred[None] = Deferred()
        self._waits.append((what, done))
        self.check()
        await done

    async def when_opened(self, count: int) -> RealtimePeer:
        """Wait until so many sessions were opened in all; the last of them."""
        await self.when(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._port is not None:
            port, self._port = self._port, None
            await maybeDeferred(port.stopListening)
        for peer in list(self._lines):
            peer.transport.abortConnection()
        await self.when(lambda: not self._lines)

    # Told by the peers ------------------------------------------------------------------------------------------------

    def connected(self, peer: RealtimePeer) -> None:
        """A connection is there."""
        self._lines.add(peer)

    def opened(self, peer: RealtimePeer) -> None:
        """A session is open."""
        self.sessions.append(peer)
        self.check()

    def lost(self, peer: RealtimePeer) -> None:
        """A connection is gone."""
        self._lines.discard(peer)
        self.check()

    def check(self) -> None:
        """Fire what has come true."""
        ripe = [done for what, done in self._waits if what()]
        self._waits = [wait for wait in self._waits if wait[1] not in ripe]
        for done in ripe:
            done.callback(None)
