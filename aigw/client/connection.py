"""A WebSocket to a gateway, for programs in Twisted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

from aigw.client.answer import Answer
from aigw.client.failures import ClientFailure, ConnectionGone, UpgradeRefused

# An answer with a picture in it, in base64, is a message of many megabytes.
_MESSAGE_BYTES = 256 * 1024 * 1024
_STATUS = re.compile(r"\[(\d{3})\]")


class GatewayClient(WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    One connection with any number of requests on it; made by `connect`.

    Attributes:
        opened: Fires with the client when the gateway has agreed; fails with UpgradeRefused.
        closed: Fires when the connection is gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[GatewayClient] = Deferred()
        self.closed: Deferred[None] = Deferred()
        self._answers: dict[str, Answer] = {}
        self._numbers = count(1)
        self._refusal: UpgradeRefused | None = None
        self._gone: ClientFailure | None = None
        self._is_open = False

    def create(
        self,
        provider: str,
        endpoint: str,
        query: Any,
        headers: Mapping[str, str] | None = None,
        event_id: str | None = None,
        piece: Callable[[Any], None] | None = None,
    ) -> Answer:
        """
        Send a request.

        Args:
            provider: Slug, such as `openai`.
            endpoint: Path below the provider, such as `chat/completions`.
            query: The provider's JSON body; `stream` in it asks for a stream.
            headers: For the provider; `cf-aig-*` ones are settings of the gateway.
            event_id: Correlation id, unique among the requests in flight; made up when absent.
            piece: Called with each piece of a stream, instead of keeping them.
        Returns:
            What will be the answer. On a closed connection it has failed already.
        """
        event_id = event_id or f"request-{next(self._numbers)}"
        answer = Answer(event_id, piece)
        if self._gone is not None:
            answer.fail(self._gone)
            return answer
        self._answers[event_id] = answer
        request = {
            "eventId": event_id,
            "provider": provider,
            "endpoint": endpoint,
            "headers": {"content-type": "application/json", **(headers or {})},
            "query": query,
        }
        self.sendMessage(json.dumps({"type": "universal.create", "request": request}).encode(), False)
        return answer

    def close(self) -> Deferred[None]:
        """Close the connection; answers that are not over fail. Returns `closed`."""
        self.sendClose(1000)
        return self.closed

    # Autobahn's hooks -----------------------------------------------------------------------------------------------

    def onOpen(self) -> None:
        """The gateway has agreed."""
        self._is_open = True
        self.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message: give it to its answer. What belongs to no answer any more is passed over."""
        message = json.loads(payload)
        event_id = message["metadata"].get("eventId")
        answer = self._answers.get(event_id)
        if answer is not None and answer.receive(message, len(payload)):
            del self._answers[event_id]

    def failHandshake(self, reason: str) -> None:
        """The gateway refused; its reason is in the body, which Autobahn does not look at."""
        status = _STATUS.search(reason)
        _, _, body = bytes(self.data).partition(b"\r\n\r\n")
        try:
            message = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            message = reason
        self._refusal = UpgradeRefused(int(status[1]) if status else 0, message)
        super().failHandshake(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone, and with it what was not over."""
        self._gone = ConnectionGone(code or 1006, reason or "the connection was closed")
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.fail(self._gone)
        if not self._is_open:
            self.opened.errback(self._refusal or UpgradeRefused(0, reason or "no WebSocket answered"))
        self.closed.callback(None)


def client_factory(reactor: Any, url: str, token: str | None = None, timeout_s: float = 10.0) -> WebSocketClientFactory:
    """
    Makes clients for an endpoint of one's own.

    Args:
        reactor: For Autobahn.
        url: `ws://` or `wss://` address of a gateway, `/v1/{account}/{gateway}`.
        token: For the gateway.
        timeout_s: For the handshakes; 0 for no clock.
    """
    headers = {} if token is None else {"cf-aig-authorization": f"Bearer {token}"}
    factory = WebSocketClientFactory(url, headers=headers, useragent="aigw", reactor=reactor)
    factory.protocol = GatewayClient
    factory.setProtocolOptions(
        maxMessagePayloadSize=_MESSAGE_BYTES,
        maxFramePayloadSize=_MESSAGE_BYTES,
        openHandshakeTimeout=timeout_s,
        closeHandshakeTimeout=timeout_s,
        serverConnectionDropTimeout=timeout_s,
        # A gateway that is gone without a word would be waited for until the kernel gives up.
        autoPingInterval=3 * timeout_s,
        autoPingTimeout=2 * timeout_s,
        failByDrop=False,
    )
    return factory


async def connect(reactor: Any, url: str, token: str | None = None, timeout_s: float = 10.0) -> GatewayClient:
    """
    Open a WebSocket to a gateway.

    Args:
        reactor: Connects.
        url, token, timeout_s: See `client_factory`; a `wss://` host must show a certificate that the system trusts.
    Returns:
        A client that is ready for `create`.
    Raises:
        UpgradeRefused: The gateway wants another token, does not know the address, or is no gateway.
        ConnectError: Nobody listens there.
    """
    factory = client_factory(reactor, url, token, timeout_s)
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, factory.host, factory.port, timeout=timeout_s)
    if factory.isSecure:
        # Autobahn's own `connectWS` verifies no certificate.
        endpoint = wrapClientTLS(optionsForClientTLS(factory.host), endpoint)
    client = cast(GatewayClient, await endpoint.connect(factory))
    return await client.opened
