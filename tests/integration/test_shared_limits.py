"""Limits of several processes that share their counters, on real servers."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, succeed

from aigw.controls.hold import Hold
from aigw.controls.visit import Visit
from aigw.errors import RateLimited, SpendLimitExceeded
from aigw.interfaces import ICounters
from aigw.testing.postgres import fresh_database
from aigw.values.counting import Charge
from aigw.values.gateway import Gateway
from aigw.values.usage import Usage
from tests.controls.visits import Desk, budget, budgeted, fixed_price, visit
from tests.state.redis_case import RedisTestCase
from tests.state.test_postgres_counters import PostgresTestCase

CENT = 10_000_000

# Servers forget by their own clocks; no window of this length ends while a test runs.
YEAR_S = 31_536_000


class SharedLimits:
    """What two processes let through together; for a test case that opens the counters of each."""

    desks: list[Desk]

    def share(self, *counters: ICounters) -> None:
        """Give each process its counters."""
        self.desks = [Desk(each, now_s=time.time()) for each in counters]

    async def ask(self, step: Visit, times: int) -> tuple[list[Hold], set[type[Exception]]]:
        """What passes, and why others do not, when so many requests come to each process at once."""
        asked = [desk.reserve.take(step) for _ in range(times) for desk in self.desks]
        results: list[tuple[bool, Any]] = await DeferredList(
            [succeed(one) if isinstance(one, Hold) else one for one in asked], consumeErrors=True
        )
        return [one for passed, one in results if passed], {one.type for passed, one in results if not passed}

    async def test_requests(self) -> None:
        """Of 200 requests to two gateways against a limit of 10, ten pass, in either kind of window."""
        for technique in ("fixed", "sliding"):
            gateway = Gateway(
                id=technique, rate_limiting_limit=10, rate_limiting_interval=YEAR_S, rate_limiting_technique=technique
            )
            passed, errors = await self.ask(visit(gateway), 100)
            self.assertEqual((len(passed), errors), (10, {RateLimited}))

    async def test_dollars(self) -> None:
        """
        Of 200 requests at a cent each against ten cents, ten pass. Two clients leave when half a cent was used, one
        provider fails, one request is never sent: three more cents' worth may pass, and no more.
        """
        step = visit(budgeted(budget(0.1, YEAR_S)), price=fixed_price(0.01))
        passed, errors = await self.ask(step, 100)
        self.assertEqual((len(passed), errors), (10, {SpendLimitExceeded}))
        for left in passed[:2]:
            left.settle(Usage(5, 5, estimated=True), CENT // 2)
        passed[2].settle(None, None, failed=True)
        passed[3].release()
        for unknown in passed[4:6]:
            unknown.settle(None, None)
        for done in passed[6:]:
            done.settle(Usage(5, 5), CENT)
            done.settle(Usage(5, 5), CENT)
        for desk in self.desks:
            # Settlements are gathered; a question is answered behind those that went before.
            while await self.spent(desk, passed[0]) != 7 * CENT:
                pass
        more, errors = await self.ask(step, 25)
        self.assertEqual((len(more), errors), (3, {SpendLimitExceeded}))

    async def spent(self, desk: Desk, hold: Hold) -> int:
        """What the budget's window holds."""
        (entry,) = hold.entries
        span = entry.span
        (spent,) = await desk.counters.read(
            [Charge(entry.limit.key, span.slot, span.first, 1, 1, entry.limit.limit, span.expires_ms)]
        )
        return spent


class RedisTests(SharedLimits, RedisTestCase):
    """Counters in Redis."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Two gateways on one server."""
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.share((await self.open()).counters, (await self.open()).counters)


class PostgresTests(SharedLimits, PostgresTestCase):
    """Counters in PostgreSQL."""

    def setUp(self) -> Deferred[None]:
        """Two gateways on one database."""
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        dsn, now_ms = await fresh_database(reactor), round(time.time() * 1000)
        self.share(await self.open(dsn, now_ms), await self.open(dsn, now_ms))
