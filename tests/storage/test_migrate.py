"""The schema, brought up to date step by step."""

from __future__ import annotations

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.errors import SchemaChanged, SchemaTooNew
from aigw.storage.dsn import read_dsn
from aigw.storage.link import Link
from aigw.storage.migrate import LOCK, Migration, migrate, packaged_migrations
from aigw.testing.postgres import fresh_database

# The database comes with what the package holds; tests add to that.
NEXT = len(packaged_migrations()) + 1
SLOW = Migration(NEXT, "slow", "CREATE TABLE slow AS SELECT pg_sleep(0.1)::text || '100%' AS x")
BROKEN = Migration(NEXT + 1, "broken", "CREATE TABLE half (n integer); SELECT 1 / 0")


class PackagedTests(SynchronousTestCase):
    """The files in the package."""

    def test_numbers(self) -> None:
        """The steps are numbered from 1 without a gap."""
        self.assertEqual([each.number for each in packaged_migrations()], list(range(1, NEXT)))


class MigrateTests(TestCase):
    """What the start of a release does to a database."""

    timeout = 30

    async def links(self, count: int) -> list[Link]:
        """Connections to one fresh database."""
        dsn = read_dsn(await fresh_database(reactor))
        links = [Link(reactor, answer_s=20.0) for _ in range(count)]
        for link in links:
            self.addCleanup(link.close)
            await link.open(dsn, connect_s=5.0)
        return links

    async def test_missing_steps_are_applied_once(self) -> None:
        """Several processes that start at once apply each missing step once, and none of them fails."""
        links = await self.links(3)
        wanted = [*packaged_migrations(), SLOW]
        await gatherResults([Deferred.fromCoroutine(migrate(link, wanted)) for link in links])
        self.assertEqual(await links[0].query("SELECT x FROM slow"), [("100%",)])
        self.assertEqual(await links[0].query("SELECT max(number) FROM aigw_migrations"), [(NEXT,)])
        self.assertEqual(await links[0].query("SELECT count(*) FROM pg_locks WHERE objid = %s", (LOCK,)), [(0,)])

    async def test_a_broken_step(self) -> None:
        """A step that fails leaves nothing of itself behind, keeps those before it, and frees the way for a retry."""
        (link,) = await self.links(1)
        wanted = [*packaged_migrations(), SLOW, BROKEN]
        for _ in range(2):
            trying = Deferred.fromCoroutine(migrate(link, wanted))
            await self.assertFailure(trying, psycopg2.errors.DivisionByZero)
        self.assertEqual(await link.query("SELECT to_regclass('half'), to_regclass('slow') IS NULL"), [(None, False)])

    async def test_a_newer_schema(self) -> None:
        """A release that is older than the database's schema refuses it and says what to do."""
        (link,) = await self.links(1)
        await migrate(link, [*packaged_migrations(), SLOW])
        refused = await self.assertFailure(Deferred.fromCoroutine(migrate(link)), SchemaTooNew)
        self.assertIn(f"migration {NEXT} (slow)", str(refused))
        self.assertIn("newer release", str(refused))

    async def test_a_changed_step(self) -> None:
        """A step whose text differs from what was applied is refused, and nothing is applied on top."""
        (link,) = await self.links(1)
        first, *rest = packaged_migrations()
        changed = Migration(first.number, first.name, first.sql + "-- edited")
        await self.assertFailure(Deferred.fromCoroutine(migrate(link, [changed, *rest, SLOW])), SchemaChanged)
        self.assertEqual(await link.query("SELECT to_regclass('slow')"), [(None,)])
