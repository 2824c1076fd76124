"""Realtime sessions through a whole data port: a client and a provider on loopback, everything between them real."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from aigw.controls.token_file import TokenEntry
from aigw.controls.token_text import digest_of
from aigw.dispatch.settings import DispatchSettings
from aigw.providers.settings import ProviderSettings
from aigw.serving.limits import SocketLimits
from aigw.serving.wheel import Wheel
from aigw.testing.data_port import NANOUSD_PER_TOKEN, TOKEN, MemoryDataPort
from aigw.testing.realtime import RealtimePeer, ScriptedRealtime, echo, script
from aigw.testing.realtime_client import RealtimeClient, connect_realtime
from aigw.upstream.settings import RealtimeSettings, UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from aigw.values.record import End
from aigw.values.token import Token
from aigw.wire.data_port import REVIEW_S

LOOK_S = 0.01
AUTHORIZED = {"cf-aig-authorization": f"Bearer {TOKEN}"}
VENDORS = ("openai", "google-ai-studio", "cartesia", "elevenlabs", "fal", "deepgram", "workers-ai", "custom-mine")
USAGE = {"input_tokens": 30, "output_tokens": 12, "input_token_details": {"audio_tokens": 20}}
CONVERSATION = {
    "session.update": [{"type": "session.updated", "session": {"model": "gpt-realtime"}}],
    "response.create": [
        {"type": "response.output_audio.delta", "delta": "A" * 64_000},
        {"type": "response.output_audio_transcript.done", "transcript": "Hello there."},
        {"type": "response.done", "response": {"status": "completed", "usage": USAGE}},
    ],
}


class RealtimeCase(TestCase):
    """A client, a gateway with one token, and a provider that plays all vendors."""

    timeout = 30
    sockets = SocketLimits()
    realtime = RealtimeSettings()
    exchange = DispatchSettings()
    budget = LimitRule(limit=1e-7, window=3600, id="talk", unit="usd")
    gateways = (
        Gateway(id="default"),
        Gateway(id="open", authentication=False),
        Gateway(id="metered", rate_limits=(budget,)),
    )

    async def setUp(self) -> None:
        self.provider = ScriptedRealtime(reactor)
        await self.provider.start()
        wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # the reactor module is one
        self.upstream = Upstream(reactor, wheel, UpstreamSettings(), lambda: 1_700_000_000.0, self.realtime)
        own = ProviderSettings(base_url=self.provider.url)
        self.port = MemoryDataPort(
            gateways=self.gateways,
            providers=dict.fromkeys(VENDORS, own),
            sockets=self.sockets,
            exchange=self.exchange,
            clock=reactor,
            upstream=self.upstream,
        )
        self.listening: Any = reactor.listenTCP(  # type: ignore[attr-defined]  # the module is one
            0, self.port.server, interface="127.0.0.1"
        )
        self.clients: list[RealtimeClient] = []

    async def tearDown(self) -> None:
        await self.listening.stopListening()
        for client in self.clients:
            client.transport.abortConnection()
        await self.upstream.close()
        await self.provider.close()
        for channel in list(self.port.server.channels):
            channel.abort()
        await self.until(lambda: not self.port.server.channels and not self.port.port.sessions)
        await self.until(lambda: self.port.dispatcher.in_flight == 0)
        gc.collect()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait for something that nobody tells."""
        while not what():
            await deferLater(reactor, LOOK_S)  # type: ignore[arg-type]  # the module is one

    async def connect(
        self,
        path: str = "openai?model=gpt-realtime",
        headers: dict[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        gateway: str = "default",
    ) -> RealtimeClient:
        """A client that has its answer."""
        url = f"ws://127.0.0.1:{self.listening.getHost().port}/v1/local/{gateway}/{path}"
        client = await connect_realtime(reactor, url, AUTHORIZED if headers is None else headers, subprotocols)
        self.clients.append(client)
        return client

    async def session(self, *args: Any, **kwargs: Any) -> tuple[RealtimeClient, RealtimePeer]:
        """Both ends of an open session."""
        client = await self.connect(*args, **kwargs)
        self.assertEqual((client.status, client.refusal), (101, b""))
        return client, self.provider.sessions[-1]

    async def record(self) -> End:
        """The record of the only session."""
        await self.until(lambda: bool(self.port.sink.ended) and self.port.dispatcher.in_flight == 0)
        (record,) = self.port.sink.ended
        self.assertEqual(len(self.port.sink.begun) + len(self.port.sink.alone_ids), 1)
        self.assertEqual(self.port.meter.records, [record])
        return record

    def error(self, client: RealtimeClient) -> tuple[int, int]:
        """Status and code of a refusal."""
        return client.status, json.loads(client.refusal)["error"][0]["code"]


class OpeningTests(RealtimeCase):
    async def test_vendors(self) -> None:
        """Every vendor of Cloudflare's pages is reached at its own path."""
        for path, expected in (
            ("openai?model=m", "/realtime?model=m"),
            ("openai/realtime?model=m", "/realtime?model=m"),
            ("openai/v1/realtime?model=m", "/realtime?model=m"),
            (
                "google?api_key=sk-fake",
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            ),
            ("cartesia?cartesia_version=2024-06-10&api_key=sk-fake", "/tts/websocket?cartesia_version=2024-06-10"),
            ("elevenlabs?agent_id=a", "/v1/convai/conversation?agent_id=a"),
            ("fal/fal-ai/fast-lcm-diffusion", "/fal-ai/fast-lcm-diffusion"),
            ("deepgram/v1/listen?model=nova-3", "/v1/listen?model=nova-3"),
            ("workers-ai?model=@cf/deepgram/nova-3&encoding=linear16", "/run/@cf/deepgram/nova-3?encoding=linear16"),
            ("custom-mine/any/where", "/any/where"),
        ):
            client, peer = await self.session(path)
            self.assertEqual(peer.path, expected)
            client.close()
            await client.when(lambda client=client: client.gone)

    async def test_no_token_reaches_the_provider(self) -> None:
        """In whatever position the gateway's token comes, it lets the client in and goes no further."""
        for path, headers, offered in (
            ("openai?model=m", {"cf-aig-authorization": f"Bearer {TOKEN}"}, ()),
            ("openai?model=m", {"cf-aig-authorization": TOKEN}, ()),
            ("openai?model=m", {"authorization": f"Bearer {TOKEN}"}, ()),
            ("openai?model=m", {}, (f"cf-aig-authorization.{TOKEN}",)),
            ("openai?model=m", {}, ("realtime", f"openai-insecure-api-key.{TOKEN}")),
            ("elevenlabs?agent_id=a", {}, (f"xi-api-key.{TOKEN}",)),
            (f"google?api_key={TOKEN}", {}, ()),
            (f"cartesia?api_key={TOKEN}", {}, ()),
        ):
            client, peer = await self.session(path, headers, offered)
            self.assertNotIn("aigw_", f"{peer.path} {peer.headers} {peer.offered}", path)
            self.assertNotIn("cf-aig", f"{peer.path} {peer.headers} {peer.offered}", path)
            client.close()
            await client.when(lambda client=client: client.gone)
        self.assertTrue(all(record.origin.token == "tok_test" for record in self.port.sink.ended))

    async def test_wrong_token(self) -> None:
        """Without a valid token the upgrade is refused as everywhere, and no provider is asked."""
        for headers, offered in (
            ({}, ()),
            ({"cf-aig-authorization": "Bearer aigw_wrong"}, ()),
            ({"authorization": "Bearer sk-fake"}, ()),
            ({}, ("cf-aig-authorization.aigw_wrong",)),
        ):
            client = await self.connect(headers=headers, subprotocols=offered)
            self.assertEqual(self.error(client), (401, 2009))
        self.assertEqual((self.provider.asked, self.port.sink.begun), ([], []))

    async def test_malformed_setting(self) -> None:
        """A setting with a typing error is refused here as on every other route, and logged."""
        client = await self.connect(headers={**AUTHORIZED, "cf-aig-collect-log": "maybe"})
        self.assertEqual(self.error(client), (400, 4003))
        self.assertEqual((self.provider.asked, (await self.record()).error_code), ([], 4003))

    async def test_open_gateway(self) -> None:
        """A gateway without authentication takes a client without a token; the provider's key passes."""
        _, peer = await self.session(headers={"authorization": "Bearer sk-fake"}, gateway="open")
        self.assertEqual(peer.headers["authorization"], "Bearer sk-fake")

    async def test_selected_subprotocol(self) -> None:
        """A page that offers subprotocols gets one of them: the provider's choice, else one that is no secret."""
        for offered, chosen, selected in (
            (("realtime", f"cf-aig-authorization.{TOKEN}"), "realtime", "realtime"),
            (("a", "b", f"cf-aig-authorization.{TOKEN}"), "b", "b"),
            ((f"cf-aig-authorization.{TOKEN}", "realtime"), "", "realtime"),
            ((f"cf-aig-authorization.{TOKEN}",), "", f"cf-aig-authorization.{TOKEN}"),
        ):
            self.provider.subprotocol = chosen
            client, _ = await self.session(headers={}, subprotocols=offered)
            self.assertEqual(client.subprotocol, selected)

    async def test_provider_refuses(self) -> None:
        """A refusal is the provider's own, with its status, and is logged."""
        self.provider.refusal = (401, b'{"error":{"message":"no such key"}}', "application/json; charset=utf-8")
        client = await self.connect()
        self.assertEqual((client.status, client.refusal), (401, b'{"error":{"message":"no such key"}}'))
        record = await self.record()
        self.assertEqual((record.status, record.success, record.error_code), (401, False, 4028))
        self.assertEqual(record.response_body, client.refusal)
        self.assertEqual((record.attempts[0].status, record.attempts[0].error_code), (401, 4028))

    async def test_provider_refuses_without_json(self) -> None:
        """A page of HTML becomes an error that clients can read, with the provider's status."""
        self.provider.refusal = (503, b"<h1>Busy</h1>", "text/html")
        self.assertEqual(self.error(await self.connect()), (503, 4028))

    async def test_provider_redirects(self) -> None:
        """A redirect is not followed, and is no answer that a client could use."""
        self.provider.refusal = (302, b"{}", "application/json")
        self.assertEqual(self.error(await self.connect()), (502, 4028))

    async def test_provider_is_not_there(self) -> None:
        """A provider that cannot be reached is told before the client is upgraded."""
        await self.provider.close()
        client = await self.connect()
        self.assertEqual(self.error(client), (400, 2005))
        record = await self.record()
        self.assertEqual((record.status, record.error_code, record.session.closed_by), (400, 2005, "provider"))

    async def test_vendor_without_sockets(self) -> None:
        """A vendor that has no realtime sockets is refused, and logged."""
        self.assertEqual(self.error(await self.connect("groq?model=m")), (404, 4040))
        self.assertEqual((await self.record()).error_code, 4040)

    async def test_unknown_vendor(self) -> None:
        """A name that is no vendor's is refused at the door."""
        self.assertEqual(self.error(await self.connect("opnai")), (400, 2008))

    async def test_log_id_comes_with_the_answer(self) -> None:
        """The client learns under which id its session is logged."""
        client, _ = await self.session()
        client.close()
        record = await self.record()
        self.assertEqual(client.headers["cf-aig-log-id"].replace("-", ""), record.origin.id.hex())

    async def test_spool_is_full(self) -> None:
        """What could not be logged is not asked."""
        self.port.sink.accepting = False
        self.assertEqual(self.error(await self.connect()), (503, 4011))
        self.assertEqual(self.provider.asked, [])

    async def test_client_leaves_while_the_provider_thinks(self) -> None:
        """A client that gives up before it has an answer leaves no connection behind, but its log."""
        self.provider.thinks = True
        line = await self.raw("openai?model=m")
        await self.provider.when(lambda: bool(self.provider.asked))
        line.abortConnection()
        record = await self.record()
        self.assertEqual((record.error_code, record.session.closed_by), (4990, "client"))
        await self.provider.when(lambda: self.provider.asked[0].gone)

    async def raw(self, path: str, more: bytes = b"") -> Any:
        """A connection that has sent an upgrade, and something behind it."""
        from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
        from twisted.internet.protocol import Protocol

        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.listening.getHost().port)
        line: Any = await connectProtocol(endpoint, Protocol())
        line.transport.write(
            b"GET /v1/local/default/%s HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"cf-aig-authorization: %s\r\n\r\n%s" % (path.encode(), TOKEN.encode(), more)
        )
        return line.transport

    async def test_a_hasty_client(self) -> None:
        """A frame that was sent before the answer came is not lost."""
        line = await self.raw("openai?model=m", b"\x81\x85\0\0\0\0hello")
        peer = await self.provider.when_opened(1)
        await self.provider.when(lambda: peer.received == [(b"hello", False)])
        line.abortConnection()
        await self.record()


class TalkingTests(RealtimeCase):
    async def test_both_ways(self) -> None:
        """Text and binary pass unchanged in both directions, in their order."""
        self.provider.on_message = echo
        client, _ = await self.session()
        sent: list[object] = ["hello", bytes(range(256)) * 40, "\u20ac \U0001f600", b"", "", {"type": "x"}]
        for message in sent:
            client.say(message)
        got = await client.when_received(len(sent))
        self.assertEqual([binary for _, binary in got], [False, True, False, True, False, False])
        self.assertEqual(
            [payload for payload, _ in got][:3], [b"hello", bytes(range(256)) * 40, "\u20ac \U0001f600".encode()]
        )

    async def test_provider_speaks_first(self) -> None:
        """A greeting that comes with the provider's answer reaches the client."""
        client = await self.connect()
        self.provider.sessions[0].say({"type": "session.created"})
        self.assertEqual(await client.when_received(1), [(b'{"type": "session.created"}', False)])

    async def test_large_sound(self) -> None:
        """A message of some megabytes passes in one piece."""
        self.provider.on_message = echo
        client, _ = await self.session()
        client.say(bytes(5_000_000))
        self.assertEqual(len((await client.when_received(1))[0][0]), 5_000_000)

    async def test_text_that_is_none(self) -> None:
        """A text that is no UTF-8 ends the session with the code for it, and reaches nobody."""
        client, peer = await self.session()
        client.sendMessage(b"\xff\xfe", False)
        await client.when(lambda: client.gone)
        self.assertEqual(client.closed_with[0], 1007)
        self.assertEqual(peer.received, [])
        self.assertEqual((await self.record()).error_code, 4000)

    async def test_a_provider_whose_text_is_none(self) -> None:
        """The same from the provider is the provider's failure."""
        client, peer = await self.session()
        peer.sendMessage(b"\xff\xfe", False)
        await client.when(lambda: client.gone)
        self.assertEqual((client.closed_with[0], client.received), (1011, []))
        self.assertEqual((await self.record()).error_code, 4026)

    async def test_client_pings(self) -> None:
        """The gateway answers a client's ping itself."""
        client, peer = await self.session()
        pong: Deferred[bytes] = Deferred()
        client.onPong = pong.callback
        client.sendPing(b"ping")
        self.assertEqual(await pong, b"ping")
        self.assertEqual((peer.pings, peer.received), ([], []))

    async def test_pings_of_a_client_that_does_not_read(self) -> None:
        """Pongs do not pile up for a client that pings and reads nothing: it gets the last one when it reads again."""
        client, peer = await self.session()
        client.keeps_messages = False
        pongs: list[bytes] = []
        client.onPong = pongs.append
        client.transport.pauseProducing()
        flood = Flood(peer, 20_000_000)
        await flood.settled()
        for number in range(200):
            client.sendPing(b"%d" % number)
        client.say("after the pings")
        await self.provider.when(lambda: bool(peer.received))
        client.transport.resumeProducing()
        await client.when(lambda: client.received_bytes == 20_000_000)
        await self.until(lambda: bool(pongs))
        self.assertEqual(pongs, [b"199"])

    async def test_slow_provider_holds_the_client(self) -> None:
        """What a provider does not read stays with the client."""
        self.provider.keeps_messages = False
        client, peer = await self.session()
        peer.stop_reading()
        flood = Flood(client, 40_000_000)
        await flood.settled()
        self.assertGreater(flood.left, 10_000_000)
        peer.read_on()
        await self.provider.when(lambda: peer.received_bytes == 40_000_000)

    async def test_slow_client_holds_the_provider(self) -> None:
        """What a client does not read stays with the provider; what the client says still gets through."""
        client, peer = await self.session()
        client.keeps_messages = False
        client.transport.pauseProducing()
        flood = Flood(peer, 40_000_000)
        await flood.settled()
        self.assertGreater(flood.left, 10_000_000)
        client.say("still talking")
        await self.provider.when(lambda: peer.received == [(b"still talking", False)])
        client.transport.resumeProducing()
        await client.when(lambda: client.received_bytes == 40_000_000)


class Flood:
    """So many bytes in messages of 64 KiB, sent only as fast as they are taken."""

    def __init__(self, end: Any, total_bytes: int) -> None:
        self.left = total_bytes
        self._end = end
        self._paused = False
        end.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        while self.left and not self._paused:
            piece = min(self.left, 65_536)
            self.left -= piece
            self._end.sendMessage(bytes(piece), True)
        if not self.left:
            self._end.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self.left = 0

    async def settled(self) -> None:
        """Wait until nothing has been taken for a while."""
        before = -1
        while before != self.left:
            before = self.left
            await deferLater(reactor, 0.2)  # type: ignore[arg-type]  # the module is one


class EndingTests(RealtimeCase):
    async def test_provider_closes(self) -> None:
        """The provider's code and reason reach the client; the log has them, once."""
        for code, reason, error_code in (
            (1000, "", 0),
            (1000, "bye", 0),
            (None, "", 0),
            (1001, "", 4029),
            (1011, "broken", 4029),
            (4001, "own words", 4029),
        ):
            client, peer = await self.session()
            peer.close(code, reason)
            await client.when(lambda client=client: client.gone)
            self.assertEqual(client.closed_with, (code, reason))
            record = self.port.sink.ended[-1]
            self.assertEqual((record.status, record.error_code, record.success), (101, error_code, not error_code))
            self.assertEqual((record.session.closed_by, record.session.close_code), ("provider", code or 0))

    async def test_client_closes(self) -> None:
        """The client's code and reason reach the provider, the client gets its code back, and all went well."""
        for code, reason in ((1000, ""), (None, ""), (1001, "page closed"), (4321, "own")):
            client, peer = await self.session()
            client.close(code, reason)
            await client.when(lambda client=client: client.gone)
            await self.provider.when(lambda peer=peer: peer.gone)
            self.assertEqual((peer.closed_with, client.closed_with), ((code, reason), (code, reason)))
            record = self.port.sink.ended[-1]
            self.assertEqual((record.error_code, record.success, record.complete), (0, True, True))
            self.assertEqual((record.session.closed_by, record.session.close_code), ("client", code or 0))

    async def test_forbidden_code(self) -> None:
        """A code that may not be sent is not sent on."""
        client, peer = await self.session()
        client.close(1006, "")
        await self.provider.when(lambda: peer.gone)
        self.assertEqual(peer.closed_with[0], 1002)

    async def test_client_vanishes(self) -> None:
        """A client that is cut off ends the provider's session at once, and the log says so."""
        client, peer = await self.session()
        client.transport.abortConnection()
        await self.provider.when(lambda: peer.gone)
        self.assertEqual(peer.closed_with, (1001, ""))
        record = await self.record()
        self.assertEqual((record.status, record.error_code, record.success), (101, 4990, False))

    async def test_provider_vanishes(self) -> None:
        """A provider that is cut off is told as an error, in a close frame that any client can read."""
        client, peer = await self.session()
        peer.vanish()
        await client.when(lambda: client.gone)
        self.assertEqual(client.closed_with[0], 1011)
        record = await self.record()
        self.assertEqual((record.error_code, record.success, record.session.closed_by), (4024, False, "provider"))

    async def test_drain(self) -> None:
        """While the gateway stops, a session may go on; what still runs at the end is closed with 1001 and logged."""
        client, peer = await self.session()
        self.port.dispatcher.draining = True
        self.port.port.drain()
        self.provider.on_message = echo
        client.say("still here")
        await client.when_received(1)
        refused = await self.connect()
        self.assertEqual(self.error(refused), (503, 4010))
        self.port.dispatcher.abandon_all()
        await client.when(lambda: client.gone)
        await self.provider.when(lambda: peer.gone)
        self.assertEqual((client.closed_with[0], peer.closed_with[0]), (1001, 1001))
        await self.port.port.when_empty()
        self.assertEqual((await self.record()).error_code, 4992)

    async def test_revoked_token(self) -> None:
        """Who revokes a token ends its sessions."""
        client, peer = await self.session()
        self.port.port.close_token("tok_test")
        await client.when(lambda: client.gone)
        await self.provider.when(lambda: peer.gone)
        self.assertEqual(client.closed_with[0], 1008)
        self.assertEqual((await self.record()).error_code, 2009)

    async def test_expired_token(self) -> None:
        """A session ends within five seconds of its token's end, though nobody says a word."""
        text = "aigw_" + "2" * 43
        digest = digest_of(text.encode())
        assert digest is not None
        expires_ms = self.port.utc_ms() + 50
        short = Token("tok_short", "", frozenset(("run",)), "local", None, 0, expires_ms)
        self.port.tokens.adopt([TokenEntry(digest, short)])
        client, peer = await self.session(headers={"cf-aig-authorization": text})
        await client.when(lambda: client.gone)
        await self.provider.when(lambda: peer.gone)
        self.assertLess(REVIEW_S, 5.0)
        self.assertEqual(client.closed_with[0], 1008)
        self.assertEqual((await self.record()).error_code, 2009)

    async def test_a_turn_may_be_the_last(self) -> None:
        """The turn that empties a budget is the session's last, and all of its turns are paid from it."""
        self.provider.on_message = script(CONVERSATION)
        client, _ = await self.session(gateway="metered")
        client.say({"type": "response.create"})
        await client.when(lambda: client.gone)
        self.assertEqual((client.closed_with[0], len(client.received)), (1008, 3))
        record = await self.record()
        self.assertEqual((record.error_code, record.session and record.session.turns), (2045, 1))
        self.assertEqual([charged.amount for charged in record.charged], [record.cost_nanousd])


class BoundTests(RealtimeCase):
    sockets = SocketLimits(message_bytes=1000, frame_bytes=1000, sockets=2)
    realtime = RealtimeSettings(message_bytes=2000, frame_bytes=2000)
    exchange = DispatchSettings(session_s=0.3)

    async def test_long_message_of_a_client(self) -> None:
        """A client's message beyond the bound closes the session with 1009, and never reaches the provider."""
        client, peer = await self.session()
        client.say("x" * 1001)
        await client.when(lambda: client.gone)
        self.assertEqual((client.closed_with[0], peer.received), (1009, []))
        self.assertEqual((await self.record()).error_code, 4004)

    async def test_long_message_of_a_provider(self) -> None:
        """A provider's message beyond the bound ends the session with an error."""
        client, peer = await self.session()
        peer.say("x" * 2001)
        await client.when(lambda: client.gone)
        self.assertEqual((client.closed_with[0], client.received), (1011, []))
        self.assertEqual((await self.record()).error_code, 4025)

    async def test_long_session(self) -> None:
        """No session outlives the owner's bound."""
        client, _ = await self.session()
        await client.when(lambda: client.gone)
        self.assertEqual(client.closed_with[0], 1008)
        self.assertEqual((await self.record()).error_code, 4023)

    async def test_too_many_sockets(self) -> None:
        """One socket more than allowed is refused at the door."""
        await self.session()
        await self.session()
        self.assertEqual(self.error(await self.connect()), (503, 4007))

    async def test_sockets_that_are_not_open_yet(self) -> None:
        """Clients that wait for their providers at the same time do not get past the bound together."""
        self.provider.thinks = True
        waiting = [self.connect() for _ in range(3)]
        answers = [Deferred.fromCoroutine(one) for one in waiting]
        await self.provider.when(lambda: len(self.provider.thoughts) == 3)
        for agreed in self.provider.thoughts:
            agreed.callback(None)
        clients = [await answer for answer in answers]
        self.assertEqual(sorted(client.status for client in clients), [101, 101, 503])
        await self.until(lambda: bool(self.port.sink.ended))
        self.assertEqual((self.port.sink.ended[0].status, self.port.sink.ended[0].error_code), (503, 4007))


class LogTests(RealtimeCase):
    exchange = DispatchSettings(log_body_bytes=4096)

    async def test_conversation(self) -> None:
        """One log says how long, how much, how many turns, what it cost, and what was said."""
        self.provider.on_message = script(CONVERSATION)
        client, _ = await self.session(headers={**AUTHORIZED, "cf-aig-metadata": '{"team":"red"}'})
        sent = {"type": "session.update"}, {"type": "input_audio_buffer.append", "audio": "A" * 6400}
        for message in (*sent, {"type": "response.create"}, {"type": "response.create"}):
            client.say(message)
        received = await client.when_received(7)
        client.close()
        record = await self.record()
        self.assertEqual(record.origin.request_type, "realtime")
        self.assertEqual((record.origin.token, record.origin.metadata), ("tok_test", b'{"team":"red"}'))
        self.assertEqual((record.target.provider, record.target.model), ("openai", "gpt-realtime"))
        self.assertEqual(record.response_model, "gpt-realtime")
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.usage.audio_in), (60, 24, 40))
        self.assertEqual(record.cost_nanousd, 84 * NANOUSD_PER_TOKEN)
        session = record.session
        self.assertEqual((session.turns, session.messages_in, session.messages_out), (2, 4, 7))
        self.assertEqual((session.audio_in_ms, session.audio_out_ms), (100, 2000))
        self.assertEqual(record.response_bytes, sum(len(payload) for payload, _ in received))
        self.assertGreater(record.target.request_bytes, 6400)
        self.assertEqual((len(record.attempts), record.attempts[0].status), (1, 101))
        self.assertGreaterEqual(record.first_byte_ms, 0)
        said = [json.loads(line) for line in record.response_body.splitlines()]
        self.assertEqual([line["transcript"] for line in said if "transcript" in line], ["Hello there."] * 2)
        self.assertEqual({line["from"] for line in said}, {"provider"})

    async def test_bodies(self) -> None:
        """Messages are kept as lines of JSON, text as text and bytes in base64, until the bound is reached."""
        self.provider.on_message = echo
        client, _ = await self.session()
        for message in ("one", b"\x00\xff", "x" * 5000, "three"):
            client.say(message)
        await client.when_received(4)
        client.close(4000, "enough")
        record = await self.record()
        lines = [json.loads(line) for line in record.request_body.splitlines()]
        self.assertEqual(
            [{**line, "t_ms": 0} for line in lines],
            [
                {"t_ms": 0, "from": "client", "close": 4000, "reason": "enough"},
                {"t_ms": 0, "from": "client", "text": "one"},
                {"t_ms": 0, "from": "client", "base64": "AP8="},
            ],
        )
        self.assertEqual(record.target.request_content_type, "application/x-ndjson")
        self.assertTrue(record.request_cut)
        self.assertTrue(record.response_cut)
        self.assertLessEqual(len(record.request_body), 4096)

    async def test_no_payload(self) -> None:
        """Who asks for no bodies gets a log without a word of what was said."""
        self.provider.on_message = script(CONVERSATION)
        client, _ = await self.session(headers={**AUTHORIZED, "cf-aig-collect-log-payload": "false"})
        client.say({"type": "response.create"})
        await client.when_received(3)
        client.close()
        record = await self.record()
        self.assertEqual((record.request_body, record.response_body), (None, None))
        self.assertEqual((record.session.turns, record.usage.tokens_in), (1, 30))

    async def test_unknown_price(self) -> None:
        """A model without a price costs null, not nothing."""
        self.provider.on_message = script(CONVERSATION)
        client, _ = await self.session("openai?model=unknown-1")
        client.say({"type": "response.create"})
        await client.when_received(3)
        client.close()
        record = await self.record()
        self.assertEqual((record.usage.tokens_in, record.cost_nanousd), (30, None))
