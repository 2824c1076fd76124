"""The scripted provider, asked by a bare socket and by Twisted's own agent."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from aigw.testing.provider import CLOSE, WAIT, Flood, ScriptedProvider, event_stream, head, json_answer


class Line(Protocol):
    """A client that writes bytes and keeps what comes back."""

    def __init__(self) -> None:
        self.got = b""
        self._until: tuple[int, Deferred[None]] | None = None
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if self._until is not None and len(self.got) >= self._until[0]:
            until, self._until = self._until, None
            until[1].callback(None)

    def bytes(self, count: int) -> Deferred[None]:
        """Fires when so many bytes have come in all."""
        done: Deferred[None] = Deferred()
        self._until = (count, done)
        self.dataReceived(b"")
        return done

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: p\r\nX-A: b\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class ProviderTests(TestCase):
    timeout = 10

    async def setUp(self) -> None:
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.line = await self.connect()

    async def tearDown(self) -> None:
        await self.provider.close()
        await self.line.gone

    async def connect(self) -> Any:
        port = int(self.provider.url.rpartition(":")[2])
        return await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Line())

    async def test_scripts(self) -> None:
        """A request is answered by its model, else its path, else `*`; and is kept as it came."""
        self.provider.on("m", json_answer("by model"))
        self.provider.on("/p", json_answer("by path"))
        for path, body, expected in (
            ("/p", b'{"model": "m"}', b"by model"),
            ("/p?x=1", b'{"model": "n"}', b"by path"),
            ("/q", b"\x00\xff", b"404"),
        ):
            self.line.got = b""
            self.line.transport.write(post(path, body))
            await self.line.bytes(1)
            self.assertIn(expected, self.line.got)
        first, _, last = self.provider.requests
        self.assertEqual((first.id, first.method, first.json), ("req-1", b"POST", {"model": "m"}))
        self.assertEqual((last.id, last.body, last.header(b"x-a"), last.connection), ("req-3", b"\x00\xff", b"b", 1))

    async def test_wait(self) -> None:
        """A script waits until the test says go."""
        self.provider.on("*", (b"1", WAIT, b"2", WAIT, b"3"))
        self.line.transport.write(post("/", b""))
        await self.line.bytes(1)
        self.assertEqual(self.line.got, b"1")
        self.provider.go("req-1", 2)
        await self.line.bytes(3)
        self.assertEqual((self.line.got, self.provider.sent_bytes), (b"123", 3))

    async def test_chunks(self) -> None:
        """A stream's pieces are chunks; one that is cut lacks the last."""
        self.provider.on("*", event_stream(b"data: 1", b"\n\n", CLOSE))
        self.line.transport.write(post("/", b""))
        await self.line.gone
        self.line.gone = Deferred()
        self.line.gone.callback(None)
        self.assertTrue(self.line.got.endswith(b"\r\n\r\n7\r\ndata: 1\r\n2\r\n\n\n\r\n"))
        self.assertEqual(self.provider.stopped, [])

    async def test_stopped(self) -> None:
        """A client that closes before the script's end is told of by the request's id; one that waited is not."""
        self.provider.on("*", (b"1", WAIT))
        self.line.transport.write(post("/", b""))
        await self.provider.when_requested(1)
        other = await self.connect()
        other.transport.abortConnection()
        self.line.transport.abortConnection()
        await self.provider.when_stopped(1)
        self.assertEqual(self.provider.stopped, ["req-1"])

    async def test_flood(self) -> None:
        """A flood sends all that it promised, in the order of the script."""
        self.provider.on("*", (head(200, {}), Flood(1_000_001, b"abc" * 10_000), b"!"))
        self.line.transport.write(post("/", b""))
        start = len(head(200, {}))
        await self.line.bytes(start + 1_000_002)
        self.assertTrue(self.line.got[start:].startswith(b"abcabc"))
        self.assertTrue(self.line.got.endswith(b"ab!"))

    async def test_one_request_after_the_other(self) -> None:
        """Requests that come together are answered in order."""
        self.provider.on("/1", (WAIT, b"1"))
        self.provider.on("/2", (b"2",))
        self.line.transport.write(post("/1", b"x") + post("/2", b"y"))
        await self.provider.when_requested(1)
        self.provider.go("req-1")
        await self.line.bytes(2)
        self.assertEqual((self.line.got, [seen.body for seen in self.provider.requests]), (b"12", [b"x", b"y"]))

    async def test_large_body(self) -> None:
        """Of a body only what is wanted is kept; all of it is counted."""
        self.provider.kept_bytes = 5
        self.provider.on("*", json_answer("ok"))
        self.line.transport.write(post("/", b"abc" * 100_000))
        await self.provider.when_received(300_000)
        await self.provider.when_requested(1)
        (seen,) = self.provider.requests
        self.assertEqual((seen.body, seen.body_bytes, self.provider.received_bytes), (b"abcab", 300_000, 300_000))

    async def test_early_answer(self) -> None:
        """A path may be answered before the body has come; the request behind it is answered as ever."""
        self.provider.on_head("/early", (b"1",))
        self.provider.on("/2", (b"2",))
        request = post("/early?x=1", b"abc")
        self.line.transport.write(request[:-3])
        await self.line.bytes(1)
        self.line.transport.write(request[-3:] + post("/2", b"d"))
        await self.line.bytes(2)
        self.assertEqual((self.line.got, [seen.body for seen in self.provider.requests]), (b"12", [b"", b"d"]))

    async def test_broken(self) -> None:
        """A client that leaves in the middle of its request is told of by its connection."""
        self.line.transport.write(post("/", b"abc")[:-1])
        await self.provider.when_received(2)
        self.line.transport.abortConnection()
        await self.provider.when_broken(1)
        self.assertEqual((self.provider.broken, self.provider.requests, self.provider.stopped), ([1], [], []))

    async def test_hold(self) -> None:
        """A provider that is held reads nothing, on old connections and new, until it is released."""
        self.provider.on("*", (b"1",))
        self.provider.hold()
        other = await self.connect()
        for line in (self.line, other):
            line.transport.write(post("/", b""))
        for _ in range(50):
            await deferLater(reactor, 0)
        self.assertEqual(self.provider.requests, [])
        self.provider.release()
        await self.provider.when_requested(2)
        other.transport.abortConnection()
        await other.gone
