"""Cached answers in PostgreSQL."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.state.postgres_cache import PostgresCache
from aigw.state.settings import StateSettings
from aigw.state.shared_cache import SharedCache
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from tests.state.cache_contract import ANSWER, UNTIL_MS, SharedCacheContract, answer
from tests.state.counters_contract import HOUR_MS, NOW_MS


class CacheTestCase(TestCase):
    """Stores on a fresh database."""

    timeout = 60

    async def open(self, dsn: str, most_bytes: int = 10**9, now_ms: int = NOW_MS) -> SharedCache:
        """A store in reach."""
        database = Database(reactor, read_dsn(dsn), DatabaseSettings(connections=2))
        store = PostgresCache(database, reactor, lambda: now_ms, most_bytes)
        cache = SharedCache(store, reactor, StateSettings(deadline_s=20))

        async def close() -> None:
            await cache.stop()
            await database.stop()

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        database.start()
        cache.start()
        await database.reached()
        return cache


class ContractTests(SharedCacheContract, CacheTestCase):
    """What holds for all stores."""

    def setUp(self) -> Deferred[None]:
        """Two gateways on one database."""
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        dsn = await fresh_database(reactor)
        self.others = [await self.open(dsn), await self.open(dsn)]
        self.cache = self.others[0]


class SweepTests(CacheTestCase):
    """What leaves the table."""

    async def fill(self, cache: SharedCache, count: int, until_ms: int = UNTIL_MS) -> None:
        """Keep so many answers, each a little longer than the one before."""
        for n in range(count):
            cache.put(bytes([n]) * 32, answer(b"x" * 1_000), until_ms + n)
        await cache.when_written()

    async def kept(self, cache: Any, count: int) -> list[int]:
        """Which of them are there."""
        await cache._store.sweep()
        found = [await cache.get(bytes([n]) * 32, NOW_MS) for n in range(count)]
        return [n for n, each in enumerate(found) if each is not None]

    async def test_expired(self) -> None:
        """What has expired leaves the table, the rest stays."""
        cache = await self.open(await fresh_database(reactor), now_ms=NOW_MS + HOUR_MS + 2)
        await self.fill(cache, 5)
        self.assertEqual(await self.kept(cache, 5), [3, 4])

    async def test_too_much(self) -> None:
        """Beyond the bound, those leave that would expire first."""
        cache = await self.open(await fresh_database(reactor), most_bytes=3_900)
        await self.fill(cache, 6)
        self.assertEqual(await self.kept(cache, 6), [3, 4, 5])
        self.assertEqual(await self.kept(cache, 6), [3, 4, 5])

    async def test_size_of_an_entry(self) -> None:
        """The bound counts the bytes that are stored."""
        cache: Any = await self.open(await fresh_database(reactor))
        cache.put(bytes(32), ANSWER, UNTIL_MS)
        await cache.when_written()
        rows = await cache._store._database.query("SELECT bytes = octet_length(value) FROM cached_answers")
        self.assertEqual(rows, [(True,)])
