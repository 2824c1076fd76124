"""Bodies that are streamed to a provider, with time and connections in the test's hand."""

from __future__ import annotations

import resource
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ClientGone, FirstByteTimeout, IdleTimeout, InternalError, ProviderFailed
from aigw.testing.provider import head, json_answer
from aigw.upstream.call import Call
from aigw.upstream.pool import WARM_S
from aigw.upstream.settings import UpstreamSettings
from aigw.values.step import Clocks
from tests.upstream.bodies import FloodBody, HandBody
from tests.upstream.memory import MemoryUpstream, Wire
from tests.upstream.receiver import Recorder
from tests.upstream.test_upstream import TlsCase, UpstreamCase

CLOCKS = Clocks(connect_s=2, first_byte_s=10, idle_s=5, total_s=1000)
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n"


class UploadCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = MemoryUpstream(UpstreamSettings(connections_per_host=2))
        self.clock = self.upstream.clock

    def send(self, body: HandBody) -> tuple[Call, Recorder]:
        return self.upstream.send(CLOCKS, body=body)

    @property
    def wire(self) -> Wire:
        return self.upstream.wires[-1]

    @property
    def sent(self) -> bytes:
        """What came behind the head."""
        return self.wire.value().partition(b"\r\n\r\n")[2]


class FramingTests(UploadCase):
    def test_known_length(self) -> None:
        """A body of known length leaves as it comes, behind a Content-Length."""
        body = HandBody(6)
        _, got = self.send(body)
        self.assertIn(b"content-length: 6\r\n", self.wire.value())
        body.make(b"abc")
        self.assertEqual(self.sent, b"abc")
        body.make(b"def")
        body.done.callback(None)
        self.wire.give(EMPTY)
        self.assertEqual((self.sent, got.ending, self.wire.lost), (b"abcdef", "completed", False))

    def test_unknown_length(self) -> None:
        """A body of unknown length leaves in chunks; an empty piece is none, since it would be the last."""
        body = HandBody()
        _, got = self.send(body)
        self.assertIn(b"transfer-encoding: chunked\r\n", self.wire.value())
        self.assertNotIn(b"content-length", self.wire.value())
        body.make(b"abc", b"", b"d" * 17)
        body.done.callback(None)
        self.wire.give(EMPTY)
        self.assertEqual(self.sent, b"3\r\nabc\r\n11\r\n" + b"d" * 17 + b"\r\n0\r\n\r\n")
        self.assertEqual((got.ending, self.wire.lost), ("completed", False))

    def test_empty(self) -> None:
        """A body that turns out to have nothing in it is a request like any other."""
        for body, sent in ((HandBody(0), b""), (HandBody(), b"0\r\n\r\n")):
            body.done.callback(None)
            _, got = self.send(body)
            self.assertTrue(self.sent.endswith(sent))
            self.wire.give(EMPTY)
            self.assertEqual(got.ending, "completed")

    def test_another_length_than_announced(self) -> None:
        """What is longer or shorter than announced would spill into the next request: the connection is cut."""
        longer, shorter = HandBody(3), HandBody(3)
        _, first = self.send(longer)
        longer.make(b"ab", b"cd")
        self.assertEqual((type(first.error), self.sent, self.wire.lost), (InternalError, b"ab", True))
        self.assertEqual(longer.told, ["start", "stop"])
        _, second = self.send(shorter)
        shorter.make(b"ab")
        shorter.done.callback(None)
        self.assertEqual((type(second.error), self.wire.lost), (InternalError, True))


class PressureTests(UploadCase):
    def test_producer_waits_for_the_provider(self) -> None:
        """While the provider takes nothing the client is made to wait, and told so once."""
        body = HandBody()
        self.send(body)
        producer = self.wire.producer
        for _ in range(3):
            producer.pauseProducing()
        self.assertEqual(body.told, ["start", "pause"])
        for _ in range(3):
            producer.resumeProducing()
        self.assertEqual(body.told, ["start", "pause", "resume"])

    def test_provider_that_takes_nothing(self) -> None:
        """A provider that takes no byte for `idle_s` is given up, and the client's body stopped."""
        body = HandBody()
        _, got = self.send(body)
        for _ in range(5):
            self.wire.producer.pauseProducing()
            self.clock.advance(4.8)
            self.wire.producer.resumeProducing()
        self.assertEqual(got.heard, [])
        self.wire.producer.pauseProducing()
        self.clock.advance(5.2)
        self.assertIsInstance(got.error, IdleTimeout)
        self.assertIn("took no more", got.error.message if got.error else "")
        self.assertEqual((body.told[-1], body.told.count("stop"), self.wire.lost), ("stop", 1, True))

    def test_rest_that_does_not_leave(self) -> None:
        """So is one that takes all but the end."""
        body = HandBody()
        _, got = self.send(body)
        self.wire.producer.pauseProducing()
        body.done.callback(None)
        self.clock.advance(5.2)
        self.assertIsInstance(got.error, IdleTimeout)

    def test_slow_client(self) -> None:
        """A client that takes its time over the body does not use up the provider's."""
        body = HandBody()
        _, got = self.send(body)
        for _ in range(20):
            self.clock.advance(20)
            body.make(b"x")
        self.assertEqual(got.heard, [])

    def test_first_byte_clock_starts_behind_the_body(self) -> None:
        """The provider's time for its answer begins when the last byte has left."""
        body = HandBody()
        _, got = self.send(body)
        self.clock.advance(30)
        self.wire.producer.pauseProducing()
        body.done.callback(None)
        self.clock.advance(3)
        self.wire.producer.resumeProducing()
        self.clock.advance(9.8)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.4)
        self.assertIsInstance(got.error, FirstByteTimeout)
        self.assertEqual(body.told, ["start", "pause"])

    def test_paused_call(self) -> None:
        """While we take nothing of the provider's answer, it may not be able to take our body."""
        body = HandBody()
        call, got = self.send(body)
        call.pause()
        self.wire.producer.pauseProducing()
        self.clock.advance(50)
        call.resume()
        self.clock.advance(4.8)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.4)
        self.assertIsInstance(got.error, IdleTimeout)


class EarlyAnswerTests(UploadCase):
    def test_refusal(self) -> None:
        """A provider that refuses in the middle of the body is heard, and gets no more of it."""
        body = HandBody(100)
        _, got = self.send(body)
        body.make(b"abc")
        self.wire.give(REFUSED + b"n")
        self.assertEqual((got.status, got.body, body.told), (413, b"n", ["start", "stop"]))
        body.make(b"def")
        self.wire.give(b"o")
        self.assertEqual((self.sent, got.body, got.ending, self.wire.lost), (b"abc", b"no", "completed", True))

    def test_answer_that_does_not_wait(self) -> None:
        """A provider that answers while it listens, as for live speech, gets the whole body all the same."""
        body = HandBody(6)
        _, got = self.send(body)
        body.make(b"abc")
        self.wire.give(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
        for _ in range(3):
            self.clock.advance(4)
            self.wire.producer.pauseProducing()
            self.wire.producer.resumeProducing()
        body.make(b"def")
        body.done.callback(None)
        self.wire.give(b"2")
        self.assertEqual((self.sent, got.body, got.ending, self.wire.lost), (b"abcdef", b"12", "completed", False))

    def test_paused_answer(self) -> None:
        """While we take nothing of such an answer no clock runs, however the body comes on."""
        body = HandBody()
        call, got = self.send(body)
        self.wire.give(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
        call.pause()
        self.wire.producer.pauseProducing()
        self.wire.producer.resumeProducing()
        self.clock.advance(50)
        self.assertEqual(got.heard, ["head", "data"])
        call.resume()
        self.clock.advance(5.2)
        self.assertIsInstance(got.error, IdleTimeout)

    def test_answer_that_ends_first(self) -> None:
        """When its answer is complete before the body, the rest is stopped and the connection not used again."""
        body = HandBody(6)
        _, got = self.send(body)
        self.wire.give(EMPTY)
        self.assertEqual((got.ending, body.told, self.wire.lost), ("completed", ["start", "stop"], True))
        self.assertEqual(self.upstream.agent.connections, 0)

    def test_interim_answer(self) -> None:
        """`100 Continue` is no answer."""
        body = HandBody(3)
        _, got = self.send(body)
        self.wire.give(b"HTTP/1.1 100 Continue\r\n\r\n")
        body.make(b"abc")
        self.assertEqual((got.heard, body.told), ([], ["start"]))


class EndTests(UploadCase):
    def test_client_leaves(self) -> None:
        """When the client leaves in the middle, the provider cannot take what came for the whole."""
        body = HandBody()
        _, got = self.send(body)
        body.make(b"abc")
        body.done.errback(ClientGone())
        self.assertEqual((type(got.error), self.wire.lost), (ClientGone, True))
        self.assertEqual((body.told, b"0\r\n\r\n" in self.sent), (["start"], False))

    def test_client_leaves_during_the_answer(self) -> None:
        """So it is when the answer has begun."""
        body = HandBody()
        _, got = self.send(body)
        self.wire.give(EMPTY.replace(b"0\r\n", b"5\r\n", 1))
        body.done.errback(ClientGone())
        self.assertEqual((got.heard, type(got.error), self.wire.lost), (["head", "failed"], ClientGone, True))

    def test_producer_that_breaks(self) -> None:
        """A defect of our own is logged, and the client is told nothing of it but that."""
        body = HandBody()
        _, got = self.send(body)
        body.done.errback(ValueError("sk-fake"))
        self.assertEqual((type(got.error), self.wire.lost), (InternalError, True))
        self.assertNotIn("sk-fake", got.error.message if got.error else "")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_producer_that_cannot_start(self) -> None:
        """So is one that shows at once."""

        class Broken(HandBody):
            def startProducing(self, consumer: object) -> None:  # type: ignore[override]  # that is the point
                raise ValueError("sk-fake")

        _, got = self.send(Broken())
        self.clock.advance(0)
        self.assertEqual((type(got.error), self.wire.lost), (InternalError, True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_provider_leaves(self) -> None:
        """When the provider closes in the middle, the client's body is stopped."""
        body = HandBody()
        _, got = self.send(body)
        self.wire.drop(ConnectionLost())
        self.assertEqual((type(got.error), body.told), (ProviderFailed, ["start", "stop"]))
        body.make(b"late")

    def test_stop(self) -> None:
        """A call that is stopped at any moment stops its body, once; one that was sent whole is left alone."""
        self.upstream.endpoint.held = True
        bodies = [HandBody() for _ in range(3)]
        calls = [self.send(body)[0] for body in bodies]
        # Two connections are being made, and the third request waits for one of them.
        calls[2].stop()
        calls[0].stop()
        self.assertEqual([body.told for body in bodies], [["stop"], [], ["stop"]])
        for made, told in ((False, ["start", "stop"]), (True, ["start"])):
            upstream, body = MemoryUpstream(), HandBody()
            call, got = upstream.send(CLOCKS, body=body)
            if made:
                body.done.callback(None)
            call.stop()
            call.stop()
            self.assertEqual((body.told, got.heard, upstream.wires[-1].lost), (told, [], True))

    def test_cancelled_request(self) -> None:
        """Whoever asks the agent itself, and gives up, stops the body as well."""
        body = HandBody()
        asking = self.upstream.agent.request(b"POST", b"http://p.test/", None, body)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((body.told, self.wire.lost), (["start", "stop"], True))

    def test_no_connection(self) -> None:
        """A body that was never asked for is stopped too, so that its client can be answered."""
        self.upstream.endpoint.held = True
        body = HandBody()
        _, got = self.send(body)
        self.upstream.endpoint.attempts.pop()[0].errback(ConnectionLost())
        self.assertEqual((got.heard, body.told), (["failed"], ["stop"]))


class StaleTests(UploadCase):
    def served(self, idle_s: float) -> HandBody:
        """A streamed body, sent when a kept connection was idle for so long."""
        self.upstream.send(CLOCKS)
        self.wire.give(EMPTY)
        self.clock.advance(idle_s)
        body = HandBody()
        self.got = self.send(body)[1]
        return body

    def test_never_sent_twice(self) -> None:
        """A streamed body meets a dead connection: half of it is gone, so the request fails instead of being resent."""
        body = self.served(0)
        body.make(b"abc")
        self.wire.drop(ConnectionLost())
        self.assertEqual((type(self.got.error), len(self.upstream.wires)), (ProviderFailed, 1))

    def test_only_warm_connections(self) -> None:
        """Therefore it is not sent on a connection that the provider may just be closing, while there is another."""
        self.served(WARM_S + 1)
        self.assertEqual(len(self.upstream.wires), 2)
        self.upstream.send(CLOCKS)
        self.assertEqual(self.upstream.wires[0].value().count(b"POST"), 2)

    def test_any_connection_when_there_may_be_no_other(self) -> None:
        """At the limit of connections an old one is better than none."""
        self.upstream = MemoryUpstream(UpstreamSettings(connections_per_host=1))
        self.clock = self.upstream.clock
        self.served(WARM_S + 1)
        self.assertEqual(len(self.upstream.wires), 1)


class SocketTests(UpstreamCase):
    """The same over real sockets."""

    kept_bytes = 1000

    async def setUp(self) -> None:
        await super().setUp()
        self.provider.kept_bytes = self.kept_bytes
        self.provider.on("*", json_answer({"ok": 1}))

    async def stuck(self, body: FloodBody) -> int:
        """How much of a body was made when no more has been for many turns of the reactor."""
        quiet, made = 0, -1
        while quiet < 200:
            await deferLater(reactor, 0)  # type: ignore[arg-type]  # the reactor module is one
            quiet, made = (quiet + 1, made) if body.made_bytes == made else (0, body.made_bytes)
        return made

    async def test_large_upload(self) -> None:
        """Uploads much larger than memory should hold arrive whole, and hardly any memory is used for them."""
        totals = {True: 1_000_000_000, False: 200_000_000}
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for known, total in totals.items():
            got = await self.ask(body=FloodBody(total, known))
            self.assertEqual((got.ending, got.body), ("completed", b'{"ok": 1}'))
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb, 20_000)
        self.assertEqual([seen.body_bytes for seen in self.provider.requests], list(totals.values()))
        self.assertEqual(self.provider.connections, 1)

    async def test_provider_that_reads_slowly(self) -> None:
        """A provider that stops reading makes the client wait, and loses nothing when it reads on."""
        total = 60_000_000
        self.provider.hold()
        body = FloodBody(total)
        _, got = self.send(body=body)
        # Both sockets' buffers, and one of ours.
        self.assertLess(await self.stuck(body), 30_000_000)
        self.assertEqual((body.paused, self.provider.received_bytes), (True, 0))
        self.provider.release()
        await got.ended
        self.assertEqual((got.ending, self.provider.received_bytes), ("completed", total))

    async def test_provider_that_never_reads(self) -> None:
        """After `idle_s` it is given up."""
        self.provider.hold()
        body = FloodBody(60_000_000)
        got = await self.ask(body=body, clocks=Clocks(idle_s=0.05))
        self.assertEqual((type(got.error), body.stopped), (IdleTimeout, True))

    async def test_client_that_leaves(self) -> None:
        """The provider sees a broken request, never a shorter one."""
        for known in (True, False):
            body = FloodBody(60_000_000, known)
            body.at = lambda body: body.fail(ClientGone()) if body.made_bytes > 1_000_000 else None
            got = await self.ask(body=body)
            self.assertIsInstance(got.error, ClientGone)
        await self.provider.when_broken(2)
        self.assertEqual(self.provider.requests, [])

    async def test_stop(self) -> None:
        """A stopped call stops its body and closes the provider's connection."""
        body = FloodBody(1 << 40)
        call, got = self.send(body=body)
        await self.provider.when_received(1_000_000)
        call.stop()
        await self.provider.when_broken(1)
        self.assertEqual((body.stopped, got.heard), (True, []))

    async def test_refusal(self) -> None:
        """An answer that comes before the body's end is passed on, and nothing more of the body is asked for."""
        self.provider.on_head("/files", json_answer({"error": "too large"}, status=413))
        body = FloodBody(1 << 40)
        got = await self.ask(path="/files", body=body)
        self.assertEqual((got.status, got.body, got.ending), (413, b'{"error": "too large"}', "completed"))
        self.assertTrue(body.stopped)
        await self.provider.when_broken(1)
        self.assertEqual([agent.connections for agent in self.upstream.agents], [0, 0])

    async def test_methods(self) -> None:
        """Every method of a vendor's API gets its answer on one connection; HEAD, 204 and 304 without a body."""
        plain, none = json_answer({"ok": 1}), (head(204, {"x-a": "b"}),)
        cases: list[tuple[bytes, Any, list[str]]] = [
            (b"GET", plain, ["head", "data", "completed"]),
            (b"HEAD", (head(200, {"content-length": "10"}),), ["head", "completed"]),
            (b"OPTIONS", none, ["head", "completed"]),
            (b"PUT", plain, ["head", "data", "completed"]),
            (b"DELETE", none, ["head", "completed"]),
            (b"PATCH", plain, ["head", "data", "completed"]),
            (b"GET", (head(304, {"etag": "x"}),), ["head", "completed"]),
        ]
        for method, script, heard in cases:
            self.provider.on("*", script)
            got = await self.ask(method=method, body=b"")
            self.assertEqual(got.heard, heard, method)
        self.assertEqual([seen.method for seen in self.provider.requests], [method for method, _, _ in cases])
        self.assertEqual([seen.body_bytes for seen in self.provider.requests], [0] * len(cases))
        self.assertEqual(self.provider.connections, 1)


class TlsSocketTests(TlsCase):
    async def test_large_upload(self) -> None:
        """The same holds beneath TLS: whole, waiting for the provider, and the connection kept."""
        self.provider.kept_bytes = 0
        total = 20_000_000
        for known in (True, False):
            body = FloodBody(total, known)
            self.provider.hold()
            receiver = Recorder()
            self.trusting.send(self.request(url=f"https://localhost:{self.port}", body=body), receiver)
            if known:
                self.provider.release()
                await self.provider.when_received(1)
                self.provider.hold()
                while not body.paused:
                    await deferLater(reactor, 0)  # type: ignore[arg-type]  # as above
            self.provider.release()
            await receiver.ended
            self.assertEqual(receiver.ending, "completed")
        self.assertEqual([seen.body_bytes for seen in self.provider.requests], [total, total])
        self.assertEqual(self.provider.connections, 1)
