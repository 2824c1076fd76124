"""WebSockets to a provider on loopback, whose every message and fault is decided here."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from aigw.errors import (
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    GatewayError,
    IdleTimeout,
    InvalidAnswer,
    InvalidField,
    ProviderFailed,
    ProviderQueueFull,
    ResponseTooLarge,
    TotalTimeout,
    TruncatedStream,
)
from aigw.serving.wheel import Wheel
from aigw.testing.realtime import RealtimePeer, ScriptedRealtime, echo
from aigw.upstream.realtime import ProviderLeg
from aigw.upstream.settings import RealtimeSettings, UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.realtime import RealtimeRequest
from aigw.values.step import Clocks, Headers
from tests.upstream.certificates import Authority


class Recorder:
    """An `IRealtimeReceiver` that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.messages: list[tuple[bytes, bool]] = []
        self.message_bytes = 0
        self.keeps_messages = True
        self.subprotocol: str | None = None
        self.refusal: tuple[int, bytes] | None = None
        self.close: tuple[int | None, str] | None = None
        self.error: GatewayError | None = None
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def accepted(self, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        self._hear("accepted")

    def refused(self, status: int, headers: Headers, body: bytes) -> None:
        self.refusal = status, body
        self._hear("refused")

    def message(self, payload: bytes, binary: bool) -> None:
        self.message_bytes += len(payload)
        if self.keeps_messages:
            self.messages.append((payload, binary))
        self._check()

    def pause(self) -> None:
        self._hear("pause")

    def resume(self) -> None:
        self._hear("resume")

    def closed(self, code: int | None, reason: str) -> None:
        self.close = code, reason
        self._hear("closed")

    def failed(self, error: GatewayError) -> None:
        self.error = error
        self._hear("failed")

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        self._check()

    async def when(self, what: Callable[[], bool]) -> None:
        done: Deferred[None] = Deferred()
        self._waits.append((what, done))
        self._check()
        await done

    def _check(self) -> None:
        for wait in [wait for wait in self._waits if wait[0]()]:
            self._waits.remove(wait)
            wait[1].callback(None)

    async def opened(self) -> None:
        await self.when(lambda: bool(self.heard))
        if self.heard != ["accepted"]:
            raise AssertionError(f"not opened: {self.heard} {self.error!r}")

    async def ended(self) -> None:
        await self.when(lambda: bool({"refused", "closed", "failed"} & set(self.heard)))


class RealtimeCase(TestCase):
    """A provider and an upstream, both on the real reactor."""

    timeout = 20
    limits = RealtimeSettings()

    async def setUp(self) -> None:
        self.provider = ScriptedRealtime(reactor)
        await self.provider.start()
        self.wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # the reactor module is one
        self.upstream = self.made(UpstreamSettings())

    async def tearDown(self) -> None:
        await self.upstream.close()
        await self.provider.close()
        gc.collect()
        self.assertEqual(len(self.wheel), 0, "a clock was left running")
        self.assertEqual(self.upstream.realtime.open_sockets, 0)

    def made(self, settings: UpstreamSettings) -> Upstream:
        return Upstream(reactor, self.wheel, settings, lambda: 1_700_000_000.0, self.limits)

    def connect(
        self,
        path: str = "/v1/realtime?model=m",
        headers: Headers = (),
        subprotocols: tuple[str, ...] = (),
        clocks: Clocks | None = None,
        url: str | None = None,
        trusted: bool = True,
    ) -> tuple[ProviderLeg, Recorder]:
        address = ((url or self.provider.url) + path).encode("ascii")
        receiver = Recorder()
        request = RealtimeRequest(address, headers, subprotocols, clocks or Clocks(), trusted)
        return self.upstream.realtime.connect(request, receiver), receiver

    async def opened(self, **request: Any) -> tuple[ProviderLeg, Recorder, RealtimePeer]:
        leg, receiver = self.connect(**request)
        await receiver.opened()
        return leg, receiver, await self.provider.when_opened(1)


class OpeningTests(RealtimeCase):
    async def test_upgrade_is_as_asked(self) -> None:
        """The provider gets path, query, headers and subprotocols as they were given, and no compression offer."""
        self.provider.subprotocol = "realtime"
        _, receiver, peer = await self.opened(
            headers=((b"authorization", b"Bearer sk-fake"), (b"openai-beta", b"realtime=v1"), (b"upgrade", b"evil")),
            subprotocols=("realtime", "openai-beta.realtime-v1"),
        )
        self.assertEqual(peer.path, "/v1/realtime?model=m")
        self.assertEqual(peer.headers["authorization"], "Bearer sk-fake")
        self.assertEqual(peer.headers["openai-beta"], "realtime=v1")
        self.assertEqual(peer.headers["upgrade"], "websocket")
        self.assertEqual(peer.offered, ["realtime", "openai-beta.realtime-v1"])
        self.assertNotIn("sec-websocket-extensions", peer.headers)
        self.assertEqual(receiver.subprotocol, "realtime")

    async def test_refusal_tells_status_and_body(self) -> None:
        """What a provider answers instead of a WebSocket is there to be passed on."""
        self.provider.refusal = (401, b'{"error":"no such key"}', "application/json")
        _, receiver = self.connect()
        await receiver.ended()
        self.assertEqual(receiver.heard, ["refused"])
        self.assertEqual(receiver.refusal, (401, b'{"error":"no such key"}'))

    async def test_nobody_there(self) -> None:
        """A closed port is told as such."""
        url = self.provider.url
        await self.provider.close()
        _, receiver = self.connect(url=url)
        await receiver.ended()
        self.assertIsInstance(receiver.error, ConnectFailed)

    async def test_private_address(self) -> None:
        """An address that is not the operator's own word leads to no machine of the operator's network."""
        _, receiver = self.connect(trusted=False)
        await receiver.ended()
        self.assertIsInstance(receiver.error, ConnectFailed)
        self.assertEqual(self.provider.asked, [])

    async def test_bad_addresses_are_refused(self) -> None:
        """An address or header that could not be sent ends the session without a connection."""
        for request in ({"url": "ftp://host"}, {"path": "/a b"}, {"headers": ((b"x", b"a\r\nb: c"),)}):
            _, receiver = self.connect(**request)  # type: ignore[arg-type]  # one of its arguments
            await receiver.ended()
            self.assertIsInstance(receiver.error, InvalidField, request)
        self.assertEqual(self.provider.asked, [])

    async def test_leaving_while_connecting(self) -> None:
        """A client that leaves before the provider was reached opens nothing and hears nothing."""
        leg, receiver = self.connect()
        leg.close(None, "")
        await self.upstream.realtime.close()
        self.assertEqual((receiver.heard, self.provider.sessions), ([], []))


class BareServer(Protocol):
    """Says some bytes, now or once it has been spoken to."""

    factory: Any

    def connectionMade(self) -> None:
        self.factory.lines.append(self.transport)
        if self.factory.at_once:
            self.transport.write(self.factory.says)  # type: ignore[union-attr]  # it is connected

    def dataReceived(self, data: bytes) -> None:
        if not self.factory.at_once:
            self.transport.write(self.factory.says)  # type: ignore[union-attr]  # it is connected


class StrangeServerTests(RealtimeCase):
    """Servers that are no WebSocket servers, or bad ones."""

    async def asked(
        self, says: bytes, at_once: bool = False, clocks: Clocks | None = None, scheme: str = "http"
    ) -> Recorder:
        factory: Any = Factory.forProtocol(BareServer)
        factory.says, factory.at_once, factory.lines = says, at_once, []
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]  # the module is one
        _, receiver = self.connect(url=f"{scheme}://127.0.0.1:{port.getHost().port}", clocks=clocks)
        await receiver.ended()
        await self.upstream.realtime.close()
        await port.stopListening()
        return receiver

    async def test_plain_http(self) -> None:
        """An address that answers with a page instead of a WebSocket does not hang the session."""
        got = await self.asked(b"HTTP/1.1 200 x\r\ncontent-length: 5\r\n\r\nhello")
        self.assertEqual(got.refusal, (200, b"hello"))

    async def test_wrong_accept(self) -> None:
        """A 101 that does not prove that it read the request is no WebSocket."""
        got = await self.asked(
            b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
        )
        self.assertIsInstance(got.error, InvalidAnswer)

    async def test_garbage(self) -> None:
        """What is no HTTP is told as such."""
        self.assertIsInstance((await self.asked(b"SSH-2.0-x\r\n")).error, InvalidAnswer)

    async def test_endless_head(self) -> None:
        """A head that does not end does not fill memory."""
        got = await self.asked(b"HTTP/1.1 401 x\r\n" + b"x: " + b"y" * 100_000)
        self.assertIsInstance(got.error, InvalidAnswer)

    async def test_endless_refusal(self) -> None:
        """A refusal without an end is cut."""
        got = await self.asked(b"HTTP/1.1 401 x\r\n\r\n" + b"y" * 100_000)
        assert got.refusal is not None
        self.assertEqual((got.refusal[0], len(got.refusal[1])), (401, self.limits.answer_bytes))

    async def test_speaks_first(self) -> None:
        """A server that talks before it was asked is left."""
        got = await self.asked(b"220 mail\r\n", at_once=True)
        self.assertIsInstance(got.error, ProviderFailed)

    async def test_silence(self) -> None:
        """A server that never answers the upgrade costs no more than the clock for the first byte."""
        got = await self.asked(b"", clocks=Clocks(first_byte_s=0.05))
        self.assertIsInstance(got.error, FirstByteTimeout)

    async def test_silence_instead_of_tls(self) -> None:
        """A server that never begins TLS costs no more than the clock for the connection."""
        got = await self.asked(b"", clocks=Clocks(connect_s=0.05), scheme="https")
        self.assertIsInstance(got.error, ConnectTimeout)


class TlsTests(RealtimeCase):
    """Certificates are verified as for any other request."""

    async def setUp(self) -> None:
        await super().setUp()
        self.authority = Authority("the test's own")
        file = Path(self.mktemp())
        file.write_bytes(self.authority.pem)
        self.trusting = self.made(UpstreamSettings(trust_roots=str(file)))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.trusting.close()))

    async def asked(self, upstream: Upstream, host: str) -> Recorder:
        provider = ScriptedRealtime(reactor, tls=self.authority.server("localhost"))
        await provider.start()
        provider.on_message = echo
        receiver = Recorder()
        url = f"https://{host}:{provider.port}/v1".encode()
        leg = upstream.realtime.connect(RealtimeRequest(url, (), (), Clocks(), trusted=True), receiver)
        await receiver.when(lambda: bool(receiver.heard))
        if receiver.heard == ["accepted"]:
            leg.send(b"hello", False)
            await receiver.when(lambda: bool(receiver.messages))
            leg.close(1000, "")
        await upstream.realtime.close()
        await provider.close()
        return receiver

    async def test_known_authority(self) -> None:
        """A certificate of a trusted authority for this host is taken."""
        self.assertEqual((await self.asked(self.trusting, "localhost")).messages, [(b"hello", False)])

    async def test_unknown_authority(self) -> None:
        """A certificate that nobody vouches for ends the session before a key was sent."""
        got = await self.asked(self.upstream, "localhost")
        self.assertIsInstance(got.error, ConnectFailed)

    async def test_other_host(self) -> None:
        """A certificate of another host ends the session, too."""
        got = await self.asked(self.trusting, "127.0.0.1")
        self.assertIsInstance(got.error, ConnectFailed)


class TalkingTests(RealtimeCase):
    async def test_messages_both_ways(self) -> None:
        """Text and binary arrive as what they are, in their order."""
        self.provider.on_message = echo
        leg, receiver, _ = await self.opened()
        sent = [(b"hello", False), (bytes(range(256)), True), ("\u20ac".encode(), False), (b"", True)]
        for payload, binary in sent:
            leg.send(payload, binary)
        await receiver.when(lambda: len(receiver.messages) == len(sent))
        self.assertEqual(receiver.messages, sent)

    async def test_first_messages_come_with_the_answer(self) -> None:
        """A provider that greets at once is heard, after it was accepted."""
        _, receiver = self.connect()
        peer = await self.provider.when_opened(1)
        peer.say({"type": "session.created"})
        await receiver.when(lambda: bool(receiver.messages))
        self.assertEqual(receiver.heard, ["accepted"])

    async def test_pings_are_answered(self) -> None:
        """A provider that pings gets its pong, and the session nothing."""
        _, receiver, peer = await self.opened()
        pong: Deferred[bytes] = Deferred()
        peer.onPong = pong.callback
        peer.sendPing(b"are you there")
        self.assertEqual(await pong, b"are you there")
        self.assertEqual(receiver.messages, [])

    async def test_slow_provider_pauses_the_client(self) -> None:
        """What a provider does not read waits with the client, and goes on when it reads."""
        leg, receiver, peer = await self.opened()
        self.provider.keeps_messages = False
        peer.stop_reading()
        sent = 0
        while "pause" not in receiver.heard:
            leg.send(bytes(100_000), True)
            sent += 100_000
            await receiver.when(lambda: True)
            await turn()
        self.assertNotIn("resume", receiver.heard)
        peer.read_on()
        await receiver.when(lambda: "resume" in receiver.heard)
        await self.provider.when(lambda: peer.received_bytes == sent)

    async def test_slow_client_pauses_the_provider(self) -> None:
        """While the client does not read, the provider is not read from; nothing is lost."""
        leg, receiver, peer = await self.opened()
        receiver.keeps_messages = False
        leg.pause()
        await Flood(peer, 20_000_000).full
        self.assertLess(receiver.message_bytes, 200_000)
        leg.resume()
        await receiver.when(lambda: receiver.message_bytes == 20_000_000)


class Flood:
    """So many bytes in messages of 64 KiB, sent only as fast as they are taken; `full` fires at the first pause."""

    def __init__(self, peer: RealtimePeer, total_bytes: int) -> None:
        self.full: Deferred[None] = Deferred()
        self._peer = peer
        self._left = total_bytes
        self._paused = False
        self._settled: Any = None
        peer.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._settled is not None and self._settled.active():
            self._settled.cancel()
        self._settled = None
        while self._left and not self._paused:
            piece = min(self._left, 65_536)
            self._left -= piece
            self._peer.sendMessage(bytes(piece), True)
        if not self._left:
            self._peer.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._settled is not None:
            return
        # The kernel's buffers take some megabytes more before they are full for good.
        self._settled = None if self.full.called else reactor.callLater(0.1, self.full.callback, None)  # type: ignore[attr-defined]  # the module is one

    def stopProducing(self) -> None:
        self._left = 0


def turn() -> Deferred[None]:
    """One turn of the reactor."""
    done: Deferred[None] = Deferred()
    reactor.callLater(0, done.callback, None)  # type: ignore[attr-defined]  # the module is one
    return done


class EndingTests(RealtimeCase):
    async def test_provider_closes(self) -> None:
        """Code and reason of the provider are there to be passed on; a close frame without a code has none."""
        for code, reason in ((1000, ""), (1001, "bye"), (1011, "broken"), (1014, "bad"), (4001, "own"), (None, "")):
            leg, receiver = self.connect()
            await receiver.opened()
            peer = self.provider.sessions[-1]
            peer.close(code, reason)
            await receiver.ended()
            self.assertEqual(receiver.close, (code, reason))
            await self.provider.when(lambda peer=peer: peer.gone)
            leg.send(b"late", False)
            self.assertEqual(receiver.heard, ["accepted", "closed"])

    async def test_client_closes(self) -> None:
        """The provider gets the client's code and reason, and the connection ends."""
        leg, receiver, peer = await self.opened()
        leg.close(4002, "done")
        await self.provider.when(lambda: peer.gone)
        self.assertEqual(peer.closed_with, (4002, "done"))
        self.assertEqual(receiver.heard, ["accepted"])

    async def test_provider_vanishes(self) -> None:
        """A connection that is cut is no good ending."""
        _, receiver, peer = await self.opened()
        peer.vanish()
        await receiver.ended()
        self.assertIsInstance(receiver.error, TruncatedStream)

    async def test_long_session(self) -> None:
        """A session ends with the owner's clock at the latest."""
        _, receiver, peer = await self.opened(clocks=Clocks(total_s=0.05))
        await receiver.ended()
        self.assertIsInstance(receiver.error, TotalTimeout)
        await self.provider.when(lambda: peer.gone)


class BoundTests(RealtimeCase):
    limits = RealtimeSettings(
        message_bytes=1000, frame_bytes=1000, frames_per_message=3, sockets=1, ping_interval_s=0.05, ping_timeout_s=0.05
    )

    async def test_long_message(self) -> None:
        """A message beyond the bound ends the session with the error that says so."""
        _, receiver, peer = await self.opened()
        peer.say("x" * 1001)
        await receiver.ended()
        self.assertIsInstance(receiver.error, ResponseTooLarge)

    async def test_many_frames(self) -> None:
        """A message in endless pieces does, too."""
        _, receiver, peer = await self.opened()
        peer.beginMessage()
        for _ in range(5):
            peer.sendMessageFrame(b"")
        await receiver.ended()
        self.assertIsInstance(receiver.error, InvalidAnswer)

    async def test_dead_provider(self) -> None:
        """A provider that answers no ping is given up."""
        _, receiver, peer = await self.opened()
        peer.stop_reading()
        await receiver.ended()
        self.assertIsInstance(receiver.error, IdleTimeout)
        peer.read_on()

    async def test_living_provider(self) -> None:
        """A silent provider that answers pings stays."""
        _, receiver, peer = await self.opened()
        await self.provider.when(lambda: len(peer.pings) > 2)
        self.assertEqual(receiver.heard, ["accepted"])

    async def test_held_provider_is_not_dead(self) -> None:
        """A provider that is not read from, because the client is slow, is not taken for dead."""
        leg, receiver, peer = await self.opened()
        leg.pause()
        self.wheel.schedule(0.3, leg.resume)
        peer.say("still here")
        await receiver.when(lambda: bool(receiver.messages))
        await self.provider.when(lambda: len(peer.pings) > 1)
        self.assertEqual(receiver.heard, ["accepted"])

    async def test_too_many_sockets(self) -> None:
        """There are no more sockets than the owner allows."""
        await self.opened()
        _, receiver = self.connect()
        await receiver.ended()
        self.assertIsInstance(receiver.error, ProviderQueueFull)

    async def test_no_bound_is_off(self) -> None:
        """None of Autobahn's bounds is left at its default of nothing."""
        await self.opened()
        (leg,) = self.upstream.realtime._legs
        socket = leg._socket
        for name in ("maxFramePayloadSize", "maxMessagePayloadSize", "autoPingInterval", "autoPingTimeout"):
            self.assertGreater(getattr(socket, name), 0, name)


class ReprTests(TestCase):
    def test_keys_are_not_shown(self) -> None:
        """A request that ends in a log line shows no key."""
        request = RealtimeRequest(b"https://h/", ((b"authorization", b"sk-fake"),), ("xi-api-key.sk-fake",), Clocks())
        self.assertNotIn("sk-fake", repr(request))
        self.assertNotIn("sk-fake", json.dumps(str(request)))
