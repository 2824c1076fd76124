"""Calls over real sockets, to a provider whose every byte is decided here."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IBodyProducer

from aigw.errors import (
    ConfigurationError,
    ConnectFailed,
    ConnectTimeout,
    InvalidAnswer,
    InvalidField,
    ProviderFailed,
    TruncatedStream,
)
from aigw.serving.wheel import Wheel
from aigw.testing.provider import CLOSE, RESET, WAIT, Flood, ScriptedProvider, answer, event_stream, head, json_answer
from aigw.upstream.call import Call
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.step import Clocks, Headers, UpstreamRequest
from tests.upstream.certificates import Authority
from tests.upstream.receiver import Recorder


class UpstreamCase(TestCase):
    """A provider and an upstream, both on the real reactor."""

    timeout = 20
    settings = UpstreamSettings()
    # Loopback is a private address.
    trusted = True

    async def setUp(self) -> None:
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # the reactor module is one
        self.upstream = Upstream(reactor, self.wheel, self.settings, lambda: 1_700_000_000.0)

    async def tearDown(self) -> None:
        await self.upstream.close()
        await self.provider.close()
        self.assertEqual(len(self.wheel), 0, "a clock was left running")

    def request(
        self,
        path: str = "/v1",
        body: bytes | IBodyProducer = b"{}",
        headers: Headers = (),
        clocks: Clocks | None = None,
        method: bytes = b"POST",
        url: str | None = None,
    ) -> UpstreamRequest:
        address = (url or self.provider.url) + path
        return UpstreamRequest(method, address.encode("ascii"), headers, body, clocks or Clocks(), self.trusted)

    def send(self, **request: Any) -> tuple[Call, Recorder]:
        receiver = Recorder()
        return self.upstream.send(self.request(**request), receiver), receiver

    async def ask(self, **request: Any) -> Recorder:
        receiver = self.send(**request)[1]
        await receiver.ended
        return receiver


class AnswerTests(UpstreamCase):
    async def test_small_answer(self) -> None:
        """An answer's status, fields and bytes arrive as the provider sent them."""
        self.provider.on("*", json_answer({"ok": 1}, headers={"X-Id": "7"}))
        got = await self.ask(body=b'{"model":"m"}', headers=((b"authorization", b"Bearer sk-fake"),))
        self.assertEqual((got.status, got.body, got.heard), (200, b'{"ok": 1}', ["head", "data", "completed"]))
        self.assertIn((b"x-id", b"7"), got.headers)
        seen = self.provider.requests[0]
        self.assertEqual((seen.method, seen.path, seen.body), (b"POST", b"/v1", b'{"model":"m"}'))
        self.assertEqual(seen.header(b"authorization"), b"Bearer sk-fake")
        self.assertEqual(seen.header(b"content-length"), b"13")
        self.assertEqual(seen.header(b"accept-encoding"), b"identity")
        self.assertEqual(seen.header(b"host"), self.provider.url.partition("//")[2].encode())

    async def test_connection_is_reused(self) -> None:
        """Requests one after the other share a connection."""
        self.provider.on("*", json_answer({}))
        for _ in range(5):
            await self.ask()
        self.assertEqual({seen.connection for seen in self.provider.requests}, {1})

    async def test_nothing_before_send_returns(self) -> None:
        """A request that cannot be sent fails too, but never before its caller holds the call."""
        receiver = Recorder()
        self.upstream.send(self.request(headers=((b"x", b"a\r\nb: c"),)), receiver)
        self.assertEqual(receiver.heard, [])
        await receiver.ended
        self.assertIsInstance(receiver.error, InvalidField)
        self.assertEqual(self.provider.connections, 0)

    async def test_no_garbage_cycles(self) -> None:
        """A call leaves nothing for the garbage collector, whose pauses every stream would feel."""
        self.provider.on("*", json_answer({}))
        await self.ask()
        await self.ask()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await self.ask()
            found = gc.collect()
        finally:
            gc.enable()
        self.assertLess(found, 10)

    async def test_stream(self) -> None:
        """The events of a stream arrive one by one, as the provider sends them."""
        self.provider.on("*", event_stream(b"data: 1\n\n", WAIT, b"data: 2\n", b"\n", headers={"x-a": "b"}))
        _, got = self.send()
        await got.begun
        await self.turns(lambda: got.body)
        self.assertEqual(got.body, b"data: 1\n\n")
        self.provider.go("req-1")
        await got.ended
        self.assertEqual((got.body, got.ending), (b"data: 1\n\ndata: 2\n\n", "completed"))

    async def test_many_at_once(self) -> None:
        """Two hundred requests in flight each get their own answer."""
        for n in range(200):
            self.provider.on(f"/{n}", answer(b"%d" % n))
        calls = [self.send(path=f"/{n}")[1] for n in range(200)]
        for receiver in calls:
            await receiver.ended
        self.assertEqual([receiver.body for receiver in calls], [b"%d" % n for n in range(200)])

    async def test_large_both_ways(self) -> None:
        """Bodies much larger than a socket takes at once arrive byte for byte, and the connection is used again."""
        body = bytes(range(256)) * 40_000
        self.provider.on("*", answer(body))
        for _ in range(2):
            got = await self.ask(body=body)
            self.assertTrue(got.body == body)
        self.assertTrue(all(seen.body == body for seen in self.provider.requests))
        self.assertEqual(self.provider.connections, 1)

    async def test_head_and_nothing_else(self) -> None:
        """HEAD, as some clients send it to see who is there, is answered and the connection used again."""
        self.provider.on("*", (head(200, {"content-length": "10"}),))
        for _ in range(2):
            got = await self.ask(method=b"HEAD", body=b"")
            self.assertEqual(got.heard, ["head", "completed"])
        self.assertEqual(self.provider.connections, 1)

    async def turns(self, ready: Any) -> None:
        """Let the reactor turn until something is so."""
        while not ready():
            await deferLater(reactor, 0)  # type: ignore[arg-type]  # as above


class FaultTests(UpstreamCase):
    async def test_faults(self) -> None:
        """Each way in which a provider may break off has its own name."""
        faults: dict[str, tuple[Any, type[Exception]]] = {
            "/close": ((CLOSE,), ProviderFailed),
            "/reset": ((RESET,), ProviderFailed),
            "/garbage": ((b"SSH-2.0\r\n",), InvalidAnswer),
            "/cut": (event_stream(b"data: 1\n\n", CLOSE), TruncatedStream),
        }
        for path, (script, error) in faults.items():
            self.provider.on(path, script)
            got = await self.ask(path=path)
            self.assertIs(type(got.error), error, path)

    async def test_reset_in_the_stream(self) -> None:
        """A stream that is reset is cut, whatever came before."""
        self.provider.on("*", event_stream(b"data: 1\n\n", WAIT, RESET))
        _, got = self.send()
        await got.begun
        self.provider.go("req-1")
        await got.ended
        self.assertIsInstance(got.error, TruncatedStream)

    async def test_refused(self) -> None:
        """Nobody listens: the error names the host and nothing else."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")  # type: ignore[attr-defined, arg-type]  # as above
        address = port.getHost().port
        await port.stopListening()
        got = await self.ask(url=f"http://localhost:{address}")
        self.assertIsInstance(got.error, ConnectFailed)
        self.assertEqual(got.error.detail, "localhost refused the connection")

    async def test_early_answer(self) -> None:
        """A provider that refuses a body it has not read is heard at once, and its connection closed."""
        line = EarlyAnswer.listen()
        receiver = Recorder()
        request = self.request(url=f"http://127.0.0.1:{line.getHost().port}", body=b"x" * 50_000_000)
        self.upstream.send(request, receiver)
        await receiver.ended
        self.assertEqual((receiver.status, receiver.ending), (413, "completed"))
        self.assertEqual([agent.idle_connections for agent in self.upstream.agents], [0, 0])
        await line.stopListening()

    async def test_stale_connection(self) -> None:
        """A connection that the provider closes just as a request goes out on it costs the client nothing."""
        self.provider.on("/first", json_answer({}))
        self.provider.on("/second", (RESET,))
        await self.ask(path="/first")
        _, got = self.send(path="/second")
        await self.provider.when_requested(2)
        self.provider.on("/second", json_answer({"n": 2}))
        await got.ended
        self.assertEqual((got.body, [seen.connection for seen in self.provider.requests]), (b'{"n": 2}', [1, 1, 2]))


class EarlyAnswer(Protocol):
    """Answers 413 at the first byte, and reads no more."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.pauseProducing()
        self.transport.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    @classmethod
    def listen(cls) -> Any:
        return reactor.listenTCP(0, Factory.forProtocol(cls), interface="127.0.0.1")


class PrivateAddressTests(UpstreamCase):
    async def test_refused_unless_trusted(self) -> None:
        """A request reaches our own network only by the operator's word, and no kept connection leads there either."""
        self.provider.on("*", json_answer({}))
        self.assertEqual((await self.ask()).ending, "completed")
        self.trusted = False
        got = await self.ask()
        self.assertIsInstance(got.error, ConnectFailed)
        self.assertEqual(got.error.detail, "127.0.0.1 has a private address, which the operator does not allow")
        self.assertEqual(len(self.provider.requests), 1)

    async def test_allowed(self) -> None:
        """With `allow_private` every request does."""
        self.provider.on("*", json_answer({}))
        self.trusted = False
        await self.upstream.close()
        self.upstream = Upstream(reactor, self.wheel, UpstreamSettings(allow_private=True), lambda: 0.0)
        self.assertEqual((await self.ask()).ending, "completed")


class StopTests(UpstreamCase):
    async def test_stop_reaches_the_provider(self) -> None:
        """A call that is stopped, waiting or in its stream, closes the provider's connection; its neighbours live."""
        self.provider.on("/silent", (WAIT,))
        self.provider.on("/stream", event_stream(b"data: 1\n\n", WAIT, b"data: 2\n\n"))
        silent, quiet = self.send(path="/silent")
        await self.provider.when_requested(1)
        stream, begun = self.send(path="/stream")
        await begun.begun
        _, neighbour = self.send(path="/stream")
        await neighbour.begun
        silent.stop()
        stream.stop()
        heard = list(begun.heard)
        await self.provider.when_stopped(2)
        self.provider.go("req-3")
        await neighbour.ended
        self.assertEqual(sorted(self.provider.stopped), ["req-1", "req-2"])
        self.assertEqual((quiet.heard, begun.heard, neighbour.ending), ([], heard, "completed"))

    async def test_close_fails_what_runs(self) -> None:
        """When the gateway stops, calls that still run are told."""
        self.provider.on("*", (WAIT,))
        _, got = self.send()
        await self.provider.when_requested(1)
        await self.upstream.close()
        await got.ended
        self.assertIsInstance(got.error, ProviderFailed)
        await self.provider.when_stopped(1)


class BackPressureTests(UpstreamCase):
    async def test_paused_call_holds_back_the_provider(self) -> None:
        """
        A reader that pauses in a stream of 200 MB costs hardly any memory: the provider is made to wait, and goes on
        with not one byte missing.
        """
        total = 200_000_000
        start = head(200, {"content-length": str(total)})
        self.provider.on("*", (start, Flood(total)))
        counter = Counter()
        call = counter.call = self.upstream.send(self.request(), counter)
        await counter.begun
        call.pause()
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stuck = await self.until_stuck()
        self.assertLess(stuck, 40_000_000)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb, 20_000)
        self.assertLess(counter.bytes, 1_000_000)
        call.resume()
        await counter.ended
        self.assertEqual(counter.bytes, total)

    async def until_stuck(self) -> int:
        """How much the provider has sent when it has sent nothing more for many turns of the reactor."""
        quiet, sent = 0, -1
        while quiet < 200:
            await deferLater(reactor, 0)  # type: ignore[arg-type]  # as above
            quiet, sent = (quiet + 1, sent) if self.provider.sent_bytes == sent else (0, self.provider.sent_bytes)
        return sent


class Counter(Recorder):
    """Counts bytes and keeps none."""

    bytes = 0
    call: Call

    def data(self, chunk: bytes) -> None:
        self.bytes += len(chunk)


class TlsCase(UpstreamCase):
    """A provider that speaks TLS, and an upstream beside the usual one that trusts it."""

    async def setUp(self) -> None:
        authority = Authority("Test CA")
        self.provider = ScriptedProvider(reactor, tls=authority.server("localhost"))
        await self.provider.start()
        self.provider.on("*", json_answer({}))
        self.wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # as above
        self.upstream = Upstream(reactor, self.wheel, UpstreamSettings(), lambda: 0.0)
        roots = self.mktemp()
        Path(roots).write_bytes(authority.pem)
        self.trusting = Upstream(reactor, self.wheel, UpstreamSettings(trust_roots=roots), lambda: 0.0)
        self.port = self.provider.url.rpartition(":")[2]

    async def tearDown(self) -> None:
        await self.trusting.close()
        await super().tearDown()


class TlsTests(TlsCase):
    """Certificates are always verified."""

    async def test_trusted(self) -> None:
        """With its authority in `trust_roots` a provider of one's own is reached, and its connection kept."""
        self.upstream, plain = self.trusting, self.upstream
        for _ in range(2):
            got = await self.ask(url=f"https://localhost:{self.port}")
            self.assertEqual(got.ending, "completed")
        self.assertEqual(self.provider.connections, 1)
        self.upstream = plain

    async def test_unknown_authority(self) -> None:
        """A certificate that nobody vouches for is refused, and no byte of the request sent."""
        got = await self.ask(url=f"https://localhost:{self.port}")
        self.assertIsInstance(got.error, ConnectFailed)
        self.assertEqual(got.error.detail, "TLS failed, or the certificate of localhost is not to be trusted")
        self.assertEqual(self.provider.requests, [])

    async def test_another_host(self) -> None:
        """So is one for another host."""
        self.upstream, plain = self.trusting, self.upstream
        got = await self.ask(url=f"https://127.0.0.1:{self.port}")
        self.assertIsInstance(got.error, ConnectFailed)
        self.assertEqual(self.provider.requests, [])
        self.upstream = plain

    async def test_no_tls_there(self) -> None:
        """A plain HTTP server behind an https address is an error, not a downgrade."""
        plain = ScriptedProvider(reactor)
        await plain.start()
        got = await self.ask(url=plain.url.replace("http:", "https:"))
        self.assertIsInstance(got.error, ConnectFailed)
        await plain.close()

    async def test_handshake_counts_as_connecting(self) -> None:
        """A server that takes the connection and never answers the handshake is given up by the connect clock."""
        silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        clocks = Clocks(connect_s=0.05)
        got = await self.ask(url=f"https://localhost:{silent.getHost().port}", clocks=clocks)
        self.assertIsInstance(got.error, ConnectTimeout)
        await silent.stopListening()

    async def test_bad_roots(self) -> None:
        """A `trust_roots` file that cannot be read is told at the start, with its key."""
        for path in (self.mktemp(), __file__):
            with self.assertRaises(ConfigurationError) as caught:
                Upstream(reactor, self.wheel, UpstreamSettings(trust_roots=path), lambda: 0.0)
            self.assertIn("trust_roots", caught.exception.problems[0])
