"""A client that shows every message and close code as it came, and that a test can make slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint


class Client(WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    One connection; made by `connect`.

    Attributes:
        messages: All that came, by event id. With `keep` off, only those that are no `universal.stream`.
        received_bytes: Length of all messages.
        close_code: That the gateway sent; None while the connection is open, and when it broke.
    """

    keep = True

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.received_bytes = 0
        self.close_code: int | None = None
        self.opened: Deferred[None] = Deferred()
        self._closed = False
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []
        super().connectionMade()

    def ask(
        self,
        event_id: str,
        provider: str = "sandbox",
        query: dict[str, Any] | None = None,
        endpoint: str = "chat/completions",
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Send a request with the headers of its step; `members` go into its query."""
        body = {"model": "echo", "messages": [{"role": "user", "content": event_id}], **(query or {}), **members}
        request = {"eventId": event_id, "provider": provider, "endpoint": endpoint, "query": body}
        request["headers"] = headers or {}
        self.sendMessage(json.dumps({"type": "universal.create", "request": request}).encode())

    async def ending(self, event_id: str) -> dict[str, Any]:
        """Wait for the terminal message of a request."""
        await self.until(lambda: self.ended(event_id))
        return self.messages[event_id][-1]

    def ended(self, event_id: str) -> bool:
        """Whether the terminal message of a request has come."""
        return event_id in self.messages and _is_terminal(self.messages[event_id][-1])

    async def began(self, event_id: str) -> None:
        """Wait for the first message about a request."""
        await self.until(lambda: event_id in self.messages)

    async def closed(self) -> int | None:
        """Wait until the connection is gone; the gateway's close code."""
        await self.until(lambda: self._closed)
        return self.close_code

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait until something holds that depends on what came.

        Raises:
            ConnectionError: It does not hold, and the connection is gone.
        """
        if condition():
            return
        if self._closed:
            raise ConnectionError(f"the gateway closed with {self.close_code}")
        done: Deferred[None] = Deferred()
        self._waits.append((condition, done))
        await done

    def onOpen(self) -> None:
        """See Autobahn."""
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """See Autobahn."""
        self.received_bytes += len(payload)
        if self.keep or not payload.startswith(b'{"type":"universal.stream"'):
            message = json.loads(payload)
            self.messages.setdefault(message["metadata"]["eventId"], []).append(message)
        self._look()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """See Autobahn."""
        self._closed = True
        self.close_code = self.remoteCloseCode
        if not self.opened.called:
            self.opened.errback(ConnectionError(str(reason)))
        self._look()

    def _look(self) -> None:
        ripe = [(condition, done) for condition, done in self._waits if condition() or self._closed]
        self._waits = [wait for wait in self._waits if wait not in ripe]
        for condition, done in ripe:
            if condition():
                done.callback(None)
            else:
                done.errback(ConnectionError(f"the gateway closed with {self.close_code}"))


def _is_terminal(message: dict[str, Any]) -> bool:
    return message["type"] == "universal.done" or (message["type"] == "universal.created" and "response" in message)


async def connect(reactor: Any, url: str, token: str) -> Client:
    """An open connection."""
    factory = WebSocketClientFactory(url, headers={"cf-aig-authorization": f"Bearer {token}"}, reactor=reactor)
    factory.protocol = Client
    factory.noisy = False
    factory.setProtocolOptions(maxMessagePayloadSize=0, maxFramePayloadSize=0)
    client: Any = await HostnameEndpoint(reactor, factory.host, factory.port).connect(factory)
    await client.opened
    return cast(Client, client)
