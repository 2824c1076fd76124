"""The server that tests share."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.testing.postgres import KEPT, fresh_database


class FreshDatabaseTests(TestCase):
    """What a test is given."""

    timeout = 60

    async def open(self) -> Database:
        """A pool on a fresh database."""
        database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        return database

    async def test_each_is_fresh(self) -> None:
        """A database has the whole schema, and nothing of what another test wrote."""
        first, second = await self.open(), await self.open()
        await first.query("INSERT INTO live_rows VALUES (1, 1)")
        self.assertEqual(await second.query("SELECT count(*) FROM live_rows"), [(0,)])

    async def test_old_ones_are_dropped(self) -> None:
        """However many tests there are, only the last few databases take up room."""
        for _ in range(KEPT + 2):
            await fresh_database(reactor)
        database = await self.open()
        rows = await database.query("SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'")
        self.assertLessEqual(rows[0][0], KEPT + 1)
