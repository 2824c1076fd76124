"""Counters in PostgreSQL."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.state.postgres_counters import GRACE_MS, PostgresCounters
from aigw.state.settings import StateSettings
from aigw.state.shared_counters import SharedCounters
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from aigw.values.counting import Correction, Verdict
from tests.state.counters_contract import HOUR_MS, NOW_MS, SharedCountersContract, charge, correction


class PostgresTestCase(TestCase):
    """Stores on a fresh database, each with connections of its own."""

    timeout = 60

    async def open(self, dsn: str, now_ms: int = NOW_MS, **settings: Any) -> SharedCounters:
        """A store in reach."""
        database = Database(reactor, read_dsn(dsn), DatabaseSettings())
        counters = SharedCounters(
            PostgresCounters(database, reactor, lambda: now_ms),
            reactor,
            lambda: now_ms,
            StateSettings(**{"deadline_s": 20.0} | settings),
            os.urandom(16),
        )

        async def close() -> None:
            await counters.stop()
            await database.stop()

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        database.start()
        counters.start()
        await database.reached()
        return counters


class ContractTests(SharedCountersContract, PostgresTestCase):
    """What holds for all stores."""

    def setUp(self) -> Deferred[None]:
        """Two gateways on one database."""
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        dsn = await fresh_database(reactor)
        self.others = [await self.open(dsn), await self.open(dsn)]
        self.counters = self.others[0]


class KeepingTests(PostgresTestCase):
    """What stays in the table, and what goes."""

    async def test_a_gateway_that_dies(self) -> None:
        """What a gateway counted is there when the next one starts."""
        dsn = await fresh_database(reactor)
        await (await self.open(dsn)).take([charge(amount=7)])
        self.assertEqual(await (await self.open(dsn)).take([charge(amount=3)]), Verdict(-1, (10,)))

    async def test_sweep(self) -> None:
        """What has expired leaves the table a minute later; what has not stays."""
        dsn = await fresh_database(reactor)
        counters = await self.open(dsn)
        counters.settle([correction(1, "over", expires_ms=NOW_MS + 1), correction(1, "on")])
        await counters._settling.when_empty()
        later = await self.open(dsn, NOW_MS + GRACE_MS + 1)
        store: Any = later._store
        await store._sweep()
        self.assertEqual(await later.read([charge("over"), charge("on")]), (0, 1))

    async def test_sweep_of_many(self) -> None:
        """A sweep goes on until everything that has expired is gone, and does not wait for what is in use."""
        dsn = await fresh_database(reactor)
        counters = await self.open(dsn)
        counters.settle([Correction(f"k{n}", 1, 1, NOW_MS + 1) for n in range(2_500)])
        await counters._settling.when_empty()
        store: Any = (await self.open(dsn, NOW_MS + HOUR_MS))._store

        async def hold(cursor: Any) -> None:
            await cursor.execute("SELECT FROM counters ORDER BY key LIMIT 1 FOR UPDATE")
            await store._sweep()

        await store._database.transact(hold)
        self.assertEqual(await store._database.query("SELECT count(*) FROM counters"), [(1,)])
