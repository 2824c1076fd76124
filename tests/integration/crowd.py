"""Many requests at once, over every route of several gateways."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import count
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool
from twisted.web.http_headers import Headers

from aigw.testing.gateway import GatewayProcess
from tests.integration import IntegrationTestCase
from tests.integration.client import Client, connect

STUB = "custom-stub"
ENDPOINT = "v1/chat/completions"
# What tests look at.
_TOLD = (
    "content-type",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "cf-aig-cache-status",
)


@attrs.define(eq=False)
class Asked:
    """
    One request, and what its client has seen so far.

    Attributes:
        route: `socket`, `universal` or `native`.
        status: HTTP status; 0 before there is one.
        code: Of the gateway's own error; 0 for none.
        headers: The answer's that limits and the cache have to do with, names in lower case.
        body: Over HTTP, what has come of it.
        over: Whether the client has all of the answer.
        leave: Breaks the connection, also in the middle of an answer.
    """

    route: str
    status: int = 0
    code: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    over: bool = False
    leave: Callable[[], None] = lambda: None

    @property
    def streams(self) -> bool:
        """Whether an answer has begun that is not over."""
        return self.status == 200 and not self.over


def apart(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    """Those that passed, and those that did not."""
    return [one for one in asked if one.status == 200], [one for one in asked if one.status != 200]


class Crowd:
    """
    Clients of several processes: of each a universal WebSocket, and HTTP to both of its routes.

    Args:
        test: Ends them with itself.
        gateways: The processes.
        name: The gateway that is asked, of the same name in all of them.
    """

    def __init__(self, test: IntegrationTestCase, gateways: Sequence[GatewayProcess], name: str) -> None:
        self._test = test
        self._name = name
        self._gateways = gateways
        self._numbers = count()
        pool = HTTPConnectionPool(test.reactor, persistent=False)
        self._agent = Agent(test.reactor, connectTimeout=30, pool=pool)
        self._sockets: dict[GatewayProcess, Client] = {}

    async def ask(self, times: int, query: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> list[Asked]:
        """
        Ask at once, each process and route in turn.

        Args:
            times: How often in all.
            query: Body of the request.
            headers: `cf-aig-*`.
        Returns:
            What each sees, once each has its answer or the beginning of a stream.
        """
        for gateway in self._gateways:
            if gateway not in self._sockets:
                self._sockets[gateway] = await self.socket(gateway)
        routes = [(gateway, route) for route in ("socket", "universal", "native") for gateway in self._gateways]
        all_asked = [self.one(*routes[number % len(routes)], query, headers or {}) for number in range(times)]
        return [await asked for asked in all_asked]

    def one(
        self, gateway: GatewayProcess, route: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Deferred[Asked]:
        """One request; fires when its client has the answer, or the beginning of a stream."""
        ask = self._on_socket if route == "socket" else self._over_http
        return Deferred.fromCoroutine(ask(gateway, route, dict(query), dict(headers or {})))

    async def _on_socket(
        self, gateway: GatewayProcess, route: str, query: dict[str, Any], headers: dict[str, str]
    ) -> Asked:
        # Who leaves a stream leaves its socket; all others of a process share one.
        client = (None if query.get("stream") else self._sockets.get(gateway)) or await self.socket(gateway)
        event_id = f"{gateway.pid}-{next(self._numbers)}"
        asked = Asked(route, leave=client.transport.abortConnection)
        client.ask(event_id, STUB, query, ENDPOINT, headers)
        await client.began(event_id)
        message = client.messages[event_id][0]
        metadata, response = message["metadata"], message.get("response")
        asked.status, asked.headers = metadata["status"], metadata.get("headers", {})
        asked.headers["cf-aig-cache-status"] = metadata.get("cacheStatus", "")
        asked.code = _code(response)
        ending = Deferred.fromCoroutine(client.ending(event_id))
        ending.addCallbacks(lambda _: setattr(asked, "over", True), lambda failure: failure.trap(ConnectionError))
        return asked

    async def socket(self, gateway: GatewayProcess) -> Client:
        """A universal WebSocket of its own."""
        client = await connect(self._test.reactor, self.url(gateway), gateway.token)
        self._test.addCleanup(client.transport.abortConnection)
        return client

    async def _over_http(
        self, gateway: GatewayProcess, route: str, query: dict[str, Any], headers: dict[str, str]
    ) -> Asked:
        asked = Asked(route)
        url, body = self.url(gateway).replace("ws://", "http://"), query
        if route == "universal":
            body = {"provider": STUB, "endpoint": ENDPOINT, "headers": {}, "query": query}
        else:
            url += f"/{STUB}/{ENDPOINT}"
        sent = {"cf-aig-authorization": f"Bearer {gateway.token}", "content-type": "application/json", **headers}
        answer = await self._agent.request(
            *(b"POST", url.encode(), Headers({name: [value] for name, value in sent.items()})),
            FileBodyProducer(BytesIO(json.dumps(body).encode())),
        )
        asked.status = answer.code
        for name in _TOLD:
            for value in answer.headers.getRawHeaders(name, []):
                asked.headers[name] = value
        whole: Deferred[None] = Deferred()
        answer.deliverBody(_Body(asked, whole))
        if b"text/event-stream" not in answer.headers.getRawHeaders(b"content-type", [b""])[0]:
            await whole
            asked.code = _code(json.loads(asked.body))
        return asked

    def url(self, gateway: GatewayProcess) -> str:
        """Of the universal WebSocket."""
        return gateway.url.replace("/default", f"/{self._name}")


class _Body(Protocol):
    """Keeps a body."""

    def __init__(self, asked: Asked, whole: Deferred[None]) -> None:
        self._asked = asked
        self._whole = whole

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._asked.leave = self.transport.loseConnection

    def dataReceived(self, data: bytes) -> None:
        self._asked.body += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._asked.over = True
        self._whole.callback(None)


def _code(response: Any) -> int:
    """Of the gateway's own error; 0 for anything else."""
    return int(response.get("internalCode", 0)) if isinstance(response, dict) else 0
