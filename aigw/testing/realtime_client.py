"""A client of realtime sessions on loopback, for tests that decide when it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

_STATUS = re.compile(r"HTTP/1\.1 (\d{3})")


class RealtimeClient(WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    One session, as the client sees it; made by `connect_realtime`.

    Attributes:
        received: Payload of each message that came, and whether it was binary.
        received_bytes: Length of all messages.
        keeps_messages: False counts them only.
        subprotocol: That the gateway selected.
        headers: Of the gateway's 101, names in lower case.
        status: HTTP status of the gateway's answer.
        refusal: Body of an answer that is no 101.
        closed_with: Code and reason of the gateway's close frame; None without one.
        gone: Whether the connection is lost.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.received: list[tuple[bytes, bool]] = []
        self.received_bytes = 0
        self.keeps_messages = True
        self.subprotocol: str | None = None
        self.headers: dict[str, str] = {}
        self.status = 0
        self.refusal = b""
        self.closed_with: tuple[int | None, str] | None = None
        self.gone = False
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def say(self, message: object) -> None:
        """Send a message: bytes as binary, text as it is, anything else as JSON."""
        if isinstance(message, bytes):
            self.sendMessage(message, True)
        else:
            self.sendMessage((message if isinstance(message, str) else json.dumps(message)).encode(), False)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Start the closing handshake, with any code."""
        self.sendCloseFrame(code, reason.encode() if code is not None else None)

    async def when(self, what: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at after each event."""
        done: Deferred[None] = Deferred()
        self._waits.append((what, done))
        self._check()
        await done

    async def when_received(self, count: int) -> list[tuple[bytes, bool]]:
        """Wait for so many messages in all."""
        await self.when(lambda: len(self.received) >= count)
        return self.received

    def onConnect(self, response: Any) -> None:
        """The gateway agreed."""
        self.status = 101
        self.subprotocol = response.protocol
        self.headers = response.headers

    def onOpen(self) -> None:
        """The session is open."""
        self._check()

    def failHandshake(self, reason: str) -> None:
        """The gateway refused; its reason is in the body, which Autobahn does not look at."""
        head, _, self.refusal = bytes(self.data).partition(b"\r\n\r\n")
        found = _STATUS.match(head.decode("latin-1"))
        self.status = int(found[1]) if found else -1
        super().failHandshake(reason)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep what comes."""
        self.received_bytes += len(payload)
        if self.keeps_messages:
            self.received.append((payload, isBinary))
        self._check()

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        """Keep what the gateway says, then go: Autobahn would wait for the gateway."""
        self.closed_with = (code, (reasonRaw or b"").decode())
        stop = super().onCloseFrame(code, reasonRaw)
        self.dropConnection(abort=False)
        return stop

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        super().connectionLost(reason)
        self.gone = True
        self._check()

    def _check(self) -> None:
        ripe = [wait for wait in self._waits if wait[0]()]
        self._waits = [wait for wait in self._waits if wait not in ripe]
        for _, done in ripe:
            done.callback(None)


async def connect_realtime(
    reactor: Any, url: str, headers: Mapping[str, str] | None = None, subprotocols: Iterable[str] = ()
) -> RealtimeClient:
    """
    Open a session.

    Args:
        reactor: Connects.
        url: `ws://` address of a gateway's provider.
        headers, subprotocols: Of the upgrade.
    Returns:
        The client, once the gateway has answered: open, or with the refusal's `status`.
    """
    factory = WebSocketClientFactory(url, headers=dict(headers or {}), protocols=list(subprotocols), reactor=reactor)
    factory.protocol = RealtimeClient
    factory.noisy = False
    factory.setProtocolOptions(
        openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0, failByDrop=False
    )
    client = cast(RealtimeClient, await HostnameEndpoint(reactor, factory.host, factory.port).connect(factory))
    await client.when(lambda: client.status != 0 or client.gone)
    return client
