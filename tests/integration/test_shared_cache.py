"""Cached answers of several processes, and calls that requests share."""

from __future__ import annotations

from typing import Any

from aigw.testing.gateway import GatewayProcess
from aigw.testing.provider import WAIT, event_stream
from aigw.testing.redis import RedisServer
from tests.integration.crowd import ENDPOINT, STUB, Asked, Crowd
from tests.integration.limits import CENT, CENT_NANOUSD, END, MESSAGES, PIECE, WHOLE, LimitCase

GATEWAYS = """
[[gateway]]
id = "cached"
cache_ttl = 300

[[gateway]]
id = "single"
cache_ttl = 300
cache_single_flight = true
"""
STREAM: dict[str, Any] = {"model": "stream", "messages": MESSAGES, "stream": True}
# As cut by the provider: in the middle of an event.
PIECES = (PIECE[:20], PIECE[20:] + PIECE, PIECE)
TOGETHER = 50


class CacheCase(LimitCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.config += GATEWAYS
        self.stub.on("stream", event_stream(*PIECES, END))
        self.stub.on("slow", event_stream(PIECE, WAIT, *PIECES, END))

    async def finished(self, crowd: Crowd, gateway: GatewayProcess, route: str, query: dict[str, Any]) -> Asked:
        """One request whose answer is over."""
        asked = await crowd.one(gateway, route, query)
        await self.until(lambda: asked.over)
        self.assertEqual(asked.status, 200)
        return asked


class SharedCacheTests(CacheCase):
    """Two processes behind which there is one cache."""

    async def both(self, state: str) -> None:
        """What one process was answered, the other gives, in the same shape."""
        self.config += state
        first, second = await self.start(), await self.second()
        crowd = Crowd(self, [first, second], "cached")
        for query in (WHOLE, STREAM):
            missed = await self.finished(crowd, first, "native", query)
            self.assertEqual(missed.headers["cf-aig-cache-status"], "MISS")
            # The answer may still be on its way into the cache.
            while (await self.finished(crowd, first, "native", query)).headers["cf-aig-cache-status"] != "HIT":
                pass
            asked = len(self.stub.requests)
            hit = await self.finished(crowd, second, "native", query)
            self.assertEqual((hit.headers["cf-aig-cache-status"], len(self.stub.requests)), ("HIT", asked))
            self.assertEqual((hit.body, hit.headers["content-type"]), (missed.body, missed.headers["content-type"]))
        self.assertEqual(missed.body, b"".join(PIECES) + END)
        await self.hit_on_socket(crowd, second)
        self.assertEqual(len(self.stub.requests), asked)

    async def hit_on_socket(self, crowd: Crowd, gateway: GatewayProcess) -> None:
        """A stream that was asked for over HTTP is a stream on the WebSocket, event by event."""
        client = await crowd.socket(gateway)
        client.ask("replayed", STUB, STREAM, ENDPOINT)
        await client.ending("replayed")
        messages = client.messages["replayed"]
        kinds = [message["type"].partition(".")[2] for message in messages]
        self.assertEqual(kinds, ["created", "stream", "stream", "stream", "done"])
        self.assertEqual(messages[0]["metadata"]["cacheStatus"], "HIT")
        self.assertEqual(messages[1]["response"]["choices"][0]["delta"]["content"], "Hi")
        self.assertTrue(messages[-1]["metadata"]["complete"])

    async def test_redis(self) -> None:
        """Through Redis."""
        server = RedisServer()
        server.start()
        self.addCleanup(server.stop)
        await self.both(f'[state]\ncache = "redis"\nredis = "{server.url}"\ndeadline_s = 20\n')

    async def test_postgresql(self) -> None:
        """Through PostgreSQL."""
        await self.both('[state]\ncache = "postgresql"\ndeadline_s = 20\n')


class SingleFlightTests(CacheCase):
    async def test_fifty(self) -> None:
        """Of fifty who ask the same at once, over HTTP and WebSocket, each has all of the one answer, and one pays."""
        gateway = await self.start()
        crowd = Crowd(self, [gateway], "single")
        asked = await crowd.ask(TOGETHER, {**STREAM, "model": "slow"}, CENT)
        for first in asked[:3]:
            first.leave()
        self.stub.go("req-1")
        await self.until(lambda: all(one.over for one in asked[3:]))
        self.assertEqual(len(self.stub.requests), 1)
        bodies = {one.body for one in asked[3:] if one.route != "socket"}
        self.assertEqual(bodies, {PIECE + b"".join(PIECES) + END})
        costs = [cost for (cost,) in await self.when_rows(TOGETHER, "cost_nanousd")]
        self.assertEqual(sorted(costs), [0] * (TOGETHER - 1) + [CENT_NANOUSD])
