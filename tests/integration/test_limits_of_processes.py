"""Limits of requests and of dollars, with two gateway processes behind which there is one store of counters."""

from __future__ import annotations

from collections.abc import Sequence

from aigw.testing.gateway import GatewayProcess
from aigw.testing.redis import RedisServer
from tests.integration.crowd import Asked, Crowd, apart
from tests.integration.limits import CENT, CENT_NANOUSD, ROOM, STREAM, WHOLE, LimitCase

PARALLEL = 200


class EveryRouteCase(LimitCase):
    """Limits, tried over every route."""

    def assert_rate_limited(self, asked: Sequence[Asked]) -> None:
        """Exactly the limit passed, and the others were told why, and for how long."""
        passed, refused = apart(asked)
        self.assertEqual(len(passed), ROOM)
        for one in refused:
            self.assertEqual((one.status, one.code), (429, 2003), one.route)
            self.assertEqual((one.headers["ratelimit-limit"], one.headers["ratelimit-remaining"]), (str(ROOM), "0"))
            self.assertGreater(int(one.headers["retry-after"]), 0)
            self.assertGreater(int(one.headers["ratelimit-reset"]), 0)

    async def requests(self, gateways: Sequence[GatewayProcess]) -> None:
        """Limits of requests, in both kinds of windows."""
        for number, name in enumerate(("fixed", "sliding"), 1):
            self.assert_rate_limited(await Crowd(self, gateways, name).ask(PARALLEL, WHOLE))
            self.assertEqual(len(self.stub.requests), number * ROOM)

    async def dollars(self, gateways: Sequence[GatewayProcess]) -> None:
        """Every other stream that passes is left by its client; what was spent fills the budget, and stays spent."""
        crowd, before = Crowd(self, gateways, "budget"), len(self.stub.requests)
        streams = await crowd.ask(PARALLEL, STREAM, CENT)
        passed, refused = apart(streams)
        self.assertEqual((len(passed), len(self.stub.requests) - before), (ROOM, ROOM))
        self.assertEqual({(one.status, one.code) for one in refused}, {(429, 2045)})
        self.assertTrue(all(int(one.headers["retry-after"]) > 0 for one in refused))
        for one in passed[::2]:
            one.leave()
        await self.stub.when_stopped(ROOM // 2)
        for seen in self.stub.requests[before:]:
            if seen.id not in self.stub.stopped:
                self.stub.go(seen.id)
        await self.until(lambda: all(one.over for one in passed[1::2]))
        more = await crowd.ask(2 * len(gateways) * 3, WHOLE, CENT)
        self.assertEqual({(one.status, one.code) for one in more}, {(429, 2045)})
        self.assertEqual(len(self.stub.requests) - before, ROOM)
        await self.when_rows(2 * PARALLEL + PARALLEL + len(more))
        costs = await self.rows("cost_nanousd")
        self.assertEqual(sum(cost or 0 for (cost,) in costs), ROOM * CENT_NANOUSD)
        # The ledger is written in the transaction that stores the rows.
        self.assertEqual(await self.spent(), ROOM * CENT_NANOUSD)


class MemoryTests(EveryRouteCase):
    """One process, which counts by itself."""

    async def test_limits(self) -> None:
        """Of 200 requests at once over every route, exactly ten pass; so they do against a budget of ten cents."""
        gateway = await self.start()
        await self.requests([gateway])
        await self.dollars([gateway])


class SharedTests(EveryRouteCase):
    """Two processes."""

    async def both(self, state: str) -> None:
        """Everything, with this store."""
        self.config += state
        gateways = [await self.start(), await self.second()]
        await self.requests(gateways)
        await self.dollars(gateways)

    async def test_redis(self) -> None:
        """Of 200 requests to two processes that share Redis, ten pass, and cost what the budget allows."""
        server = RedisServer()
        server.start()
        self.addCleanup(server.stop)
        await self.both(f'[state]\nstore = "redis"\nredis = "{server.url}"\ndeadline_s = 20\n')

    async def test_postgresql(self) -> None:
        """Of 200 requests to two processes that share PostgreSQL, ten pass, and cost what the budget allows."""
        await self.both('[state]\nstore = "postgresql"\ndeadline_s = 20\n')
