"""Every way into the data port, taken from the router's own list: the same stages, the same refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.controls.token_file import TokenEntry
from aigw.controls.token_text import digest_of
from aigw.errors import ConnectFailed
from aigw.interfaces import IRealtimeSocket, IRealtimeUpstream
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES
from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import START_MS, TOKEN, MemoryDataPort
from aigw.testing.upstream import ScriptedUpstream
from aigw.values.gateway import Gateway
from aigw.values.realtime import RealtimeRequest
from aigw.values.token import Token
from aigw.wire.routes import Route
from tests.wire.http_client import read_answers, request_bytes

PAGE = "https://app.example.com"
ROUTES = [route for route in Route if route.asks_providers]
HANDSHAKE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@implementer(IRealtimeUpstream, IRealtimeSocket)
class NoSockets:
    """Opens no WebSocket to any provider, and keeps what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[RealtimeRequest, Any]] = []

    def connect(self, request: RealtimeRequest, receiver: Any) -> NoSockets:
        """See `IRealtimeUpstream`."""
        self.asked.append((request, receiver))
        return self

    def send(self, payload: bytes, binary: bool) -> None:
        """See `IRealtimeSocket`."""

    def pause(self) -> None:
        """See `IRealtimeSocket`."""

    def resume(self) -> None:
        """See `IRealtimeSocket`."""

    def close(self, code: int | None, reason: str) -> None:
        """See `IRealtimeSocket`."""


class Upstream(ScriptedUpstream):
    """Providers of every kind, none of which can be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.realtime = NoSockets()

    def asked(self) -> list[Any]:
        """All that providers were asked."""
        return [*(call.request for call in self.calls), *(request for request, _ in self.realtime.asked)]

    def fail_all(self) -> None:
        """Nobody can be reached."""
        for call in self.running:
            call.fail(ConnectFailed())
        for _, receiver in self.realtime.asked:
            receiver.failed(ConnectFailed())


@attrs.frozen
class Asked:
    """
    A request as each route words it.

    Attributes:
        gateway: In the address: account and name.
        provider: That is to be asked.
        headers: Of the request.
    """

    gateway: str = "local/default"
    provider: str = "openai"
    headers: tuple[tuple[str, str], ...] = ()


def universal(port: MemoryDataPort, asked: Asked) -> bytes:
    """What a client of the universal endpoint gets."""
    return _sent(port, request_bytes(f"/v1/{asked.gateway}", json.dumps([_step(asked)]).encode(), asked.headers))


def native(port: MemoryDataPort, asked: Asked) -> bytes:
    """What a client of a provider's own API gets."""
    path = f"/v1/{asked.gateway}/{asked.provider}/chat/completions"
    return _sent(port, request_bytes(path, b'{"model": "m"}', asked.headers))


def universal_socket(port: MemoryDataPort, asked: Asked) -> bytes:
    """What a client gets that opens a WebSocket and sends one request."""
    payload = json.dumps({"type": "universal.create", "request": _step(asked)}).encode()
    frame = b"\x81\xfe" + len(payload).to_bytes(2) + bytes(4) + payload
    received = _sent(port, request_bytes(f"/v1/{asked.gateway}", None, _upgrading(asked), "GET"), frame)
    top, _, rest = received.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 101 "):
        return received
    message = json.loads(rest[rest.index(b"{") :])
    body = json.dumps(message["response"]).encode()
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (message["metadata"]["status"], len(body), body)


def realtime_socket(port: MemoryDataPort, asked: Asked) -> bytes:
    """What a client gets that opens a WebSocket to a provider."""
    return _sent(port, request_bytes(f"/v1/{asked.gateway}/{asked.provider}?model=m", None, _upgrading(asked), "GET"))


# Every route that leads to providers; the test below finds one that is missing here.
WORDED: dict[Route, Callable[[MemoryDataPort, Asked], bytes]] = {
    Route.UNIVERSAL: universal,
    Route.NATIVE: native,
    Route.UNIVERSAL_SOCKET: universal_socket,
    Route.REALTIME_SOCKET: realtime_socket,
}


def _step(asked: Asked) -> dict[str, Any]:
    return {"provider": asked.provider, "endpoint": "chat/completions", "headers": {}, "query": {"model": "m"}}


def _upgrading(asked: Asked) -> tuple[tuple[str, str], ...]:
    return (*HANDSHAKE, *asked.headers)


def _sent(port: MemoryDataPort, *pieces: bytes) -> bytes:
    """Send bytes, have every provider fail, and give what came back."""
    link, client = port.connect_raw()
    for piece in pieces:
        client.send(piece)
        link.settle()
    port.upstream.fail_all()
    link.advance(0.2)
    link.vanish()
    link.settle()
    return client.received


def _entry(text: str, **members: Any) -> TokenEntry:
    digest = digest_of(text.encode())
    assert digest is not None
    fields = {"id": f"tok_{text[-1]}", "name": "x", "scopes": frozenset(("run",)), "account": "local", "gateway": None}
    return TokenEntry(digest, Token(**{**fields, "created_ms": START_MS - 10, **members}))


def _text(letter: str) -> str:
    return "aigw_" + letter * 43


# Tokens that are known and not for this.
KNOWN = (
    _entry(_text("1"), scopes=frozenset(("read", "edit"))),
    _entry(_text("2"), account="acme"),
    _entry(_text("3"), gateway="other"),
    _entry(_text("4"), expires_ms=START_MS - 1),
    _entry(_text("5"), revoked_ms=START_MS - 1),
)
BAD_TOKENS = (
    *(None, "", "Bearer", "Bearer undefined", "Basic x", "sk-fake", _text("9"), TOKEN[:-1], TOKEN + "0", TOKEN.upper()),
    *(_text(str(number)) for number in range(1, 6)),
)


class RouteCase(SynchronousTestCase):
    """A data port for each request."""

    def setUp(self) -> None:
        self.upstream = Upstream()
        own = {slug: ProviderSettings(headers={"x-own": "operator"}) for slug in ("openai", "anthropic")}
        self.port = MemoryDataPort(
            gateways=(Gateway(id="default"), Gateway(id="open", authentication=False), Gateway(id="other")),
            providers=own,
            upstream=self.upstream,
            sockets=SocketLimits(allowed_origins=(PAGE,)),
        )
        self.port.tokens.adopt([_entry(TOKEN, id="tok_test"), *KNOWN])

    def ask(self, route: Route, token: str | None = f"Bearer {TOKEN}", **asked: Any) -> tuple[int, int]:
        """Status and the gateway's own code of the answer."""
        headers = asked.pop("headers", ())
        if token is not None:
            headers = (*headers, ("cf-aig-authorization", token))
        (answer,) = read_answers(WORDED[route](self.port, Asked(headers=headers, **asked)))
        return answer.status, answer.json["internalCode"]

    def routes(self) -> Iterator[Route]:
        """Every route, each with a port of its own."""
        for route in ROUTES:
            self.setUp()
            yield route


class EveryRouteTests(RouteCase):
    """What holds on one route holds on all."""

    def test_all_are_tested(self) -> None:
        """A route that is added to the router is tested here, or this fails; each is told apart in the log."""
        self.assertEqual(set(WORDED), set(ROUTES))
        kinds = set()
        for route in self.routes():
            self.ask(route)
            kinds.add(self.port.sink.ended[0].origin.request_type)
        self.assertEqual(len(kinds), len(ROUTES))

    def test_bad_tokens(self) -> None:
        """Every bad token is 401 with code 2009: nobody is asked, nothing is logged, the refusal is counted."""
        for route in self.routes():
            for token in BAD_TOKENS:
                self.assertEqual(self.ask(route, token), (401, 2009), (route, token))
            self.assertEqual((self.upstream.asked(), self.port.sink.begun), ([], []), route)
            self.assertEqual([error.code for error in self.port.refused], [2009] * len(BAD_TOKENS))

    def test_two_tokens(self) -> None:
        """Two token headers could mean two callers: 400."""
        for route in self.routes():
            headers = (("cf-aig-authorization", f"Bearer {TOKEN}"),)
            self.assertEqual(self.ask(route, headers=headers), (400, 4000), route)

    def test_token_of_another_gateway(self) -> None:
        """A token opens the gateway that it is for, and no other."""
        for route in self.routes():
            self.assertEqual(self.ask(route, _text("3"), gateway="local/other"), (400, 2005), route)
            self.assertEqual(self.ask(route, _text("3")), (401, 2009), route)

    def test_open_gateway(self) -> None:
        """A gateway whose owner asks for no token takes any; a right one is still known."""
        for route in self.routes():
            for token, authenticated in ((None, False), ("Bearer undefined", False), (TOKEN, True)):
                self.assertEqual(self.ask(route, token, gateway="local/open"), (400, 2005), route)
                self.assertEqual(self.port.sink.ended[-1].origin.authenticated, authenticated)

    def test_unknown_gateways_and_providers(self) -> None:
        """They are 400 with Cloudflare's codes; whoever may not call is not told which providers there are."""
        for route in self.routes():
            for gateway in ("local/nobody", "acme/default"):
                self.assertEqual(self.ask(route, gateway=gateway), (400, 2001), route)
            for provider in ("opnai", "custom-none"):
                self.assertEqual(self.ask(route, provider=provider), (400, 2008), route)
                self.assertEqual(self.ask(route, None, provider=provider), (401, 2009), route)
            self.assertEqual(self.upstream.asked(), [], route)

    def test_pages(self) -> None:
        """Pages of other origins are 403 on every route, those of listed ones are let in."""
        for route in self.routes():
            self.assertEqual(self.ask(route, headers=(("Origin", "https://evil.test"),)), (403, 4030), route)
            self.assertEqual(self.port.sink.begun, [], route)
            self.assertEqual(self.ask(route, headers=(("Origin", PAGE),)), (400, 2005), route)

    def test_draining(self) -> None:
        """A gateway that is about to stop is 503 on every route."""
        for route in self.routes():
            self.port.dispatcher.draining = True
            self.assertEqual(self.ask(route), (503, 4010), route)
            self.assertEqual(self.upstream.asked(), [], route)

    def test_full_spool(self) -> None:
        """What could not be logged is not asked, on any route."""
        for route in self.routes():
            self.port.sink.accepting = False
            self.assertEqual(self.ask(route), (503, 4011), route)
            self.assertEqual(self.upstream.asked(), [], route)

    def test_stages(self) -> None:
        """Each request shows the marks of all stages: caller, settings, provider, credentials, attempt, one record."""
        settings = (("cf-aig-metadata", '{"user": "ann"}'), ("cf-aig-collect-log-payload", "false"))
        for route in self.routes():
            self.assertEqual(self.ask(route, headers=settings), (400, 2005), route)
            (begin,), (end,) = self.port.sink.begun, self.port.sink.ended
            origin = end.origin
            # 1 authenticate, 2 settings
            self.assertEqual((origin.token, origin.authenticated), ("tok_test", True), route)
            self.assertEqual(json.loads(origin.metadata), {"user": "ann"}, route)
            self.assertEqual((origin.collect, origin.collect_payload, end.request_body), (True, False, None), route)
            # 3 route, 4 merged settings, 8 credentials
            (request,) = self.upstream.asked()
            self.assertRegex(request.url, b"^(https|wss)://api.openai.com/")
            self.assertIn((b"x-own", b"operator"), request.headers)
            self.assertFalse([name for name, _ in request.headers if name.startswith(b"cf-aig-")], route)
            self.assertFalse([value for _, value in request.headers if b"aigw_" in value], route)
            # 9 attempt, 12 record
            self.assertEqual((begin.origin.id, end.target.provider), (origin.id, "openai"), route)
            self.assertEqual([attempt.error_code for attempt in end.attempts], [2005], route)
            self.assertEqual((end.error_code, end.success, self.port.meter.opened_count), (2005, False, 1), route)
            self.assertEqual(len(self.port.meter.records), 1)


class EveryProviderTests(RouteCase):
    """No provider of the table has a way round the door."""

    def test_bad_tokens(self) -> None:
        """Below every provider every bad token is 401, wherever the provider keeps its key."""
        for slug in MODULES:
            for header in (
                "cf-aig-authorization",
                "authorization",
                "x-api-key",
                "x-goog-api-key",
                "api-key",
                "xi-api-key",
            ):
                for token in (_text("9"), _text("1"), "sk-fake"):
                    asked = Asked(provider=slug, headers=((header, f"Bearer {token}"),))
                    (answer,) = read_answers(native(self.port, asked))
                    self.assertEqual((answer.status, answer.json["internalCode"]), (401, 2009), (slug, header))
        self.assertEqual((self.upstream.asked(), self.port.sink.begun), ([], []))


class SilentRouteTests(RouteCase):
    """Routes that lead to nobody."""

    def test_nobody_is_asked(self) -> None:
        """A preflight and a probe are answered at the door, with nothing of the inside and no record."""
        preflight = (("Origin", PAGE), ("Access-Control-Request-Method", "POST"))
        for data, status in (
            (request_bytes("/v1/local/default/openai/x", None, preflight, "OPTIONS"), b"204"),
            (request_bytes("/v1/local/default/anthropic", None, (), "HEAD"), b"200"),
        ):
            received = _sent(self.port, data)
            self.assertTrue(received.startswith(b"HTTP/1.1 %b " % status), received)
            self.assertTrue(received.endswith(b"\r\n\r\n"), received)
        self.assertEqual((self.upstream.asked(), self.port.sink.begun), ([], []))
