"""The pool: a real server is killed, frozen and refused under it."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.storage.database import Database, DatabaseSettings
from aigw.storage.dsn import read_dsn
from aigw.testing.postgres import fresh_database


class DatabaseTests(TestCase):
    """With the server well."""

    timeout = 30

    async def open(self, **settings: float) -> Database:
        """A pool on a fresh database."""
        database = Database(reactor, read_dsn(await fresh_database(reactor)), DatabaseSettings(**settings))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        return database

    async def test_a_query_gives_rows(self) -> None:
        """A statement's rows come back."""
        database = await self.open()
        self.assertEqual(await database.query("SELECT %s + 1, 'x'", (1,)), [(2, "x")])
