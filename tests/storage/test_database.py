"""The pool on a server that is well."""

from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase

from aigw.errors import SchemaTooNew, StatementTooSlow, StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.link import Link
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from tests.storage.own_server import until


class Silence(ServerFactory):
    """A server that accepts connections and says nothing."""

    def __init__(self) -> None:
        self.accepted = 0
        self.open: set[Protocol] = set()

    def buildProtocol(self, addr: Any) -> Protocol:
        """See `Factory`."""
        self.accepted += 1
        connection = Protocol()
        self.open.add(connection)
        connection.connectionLost = lambda reason: self.open.discard(connection)
        return connection


class DatabaseTests(TestCase):
    """What a caller sees."""

    timeout = 30

    async def open(self, **settings: Any) -> Database:
        """A pool on a fresh database."""
        database = Database(reactor, read_dsn(await fresh_database(reactor)), DatabaseSettings(**settings))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        return database

    async def table(self, **settings: Any) -> Database:
        """A pool on a database with one small table."""
        database = await self.open(**settings)
        await database.query("CREATE TABLE seen (n integer)")
        return database

    async def test_a_query_gives_rows(self) -> None:
        """A statement's rows come back, in Python's own types."""
        database = await self.open()
        self.assertTrue(IDatabase.providedBy(database))
        self.assertEqual(await database.query("SELECT %s + 1, 'x', NULL", (1,)), [(2, "x", None)])

    async def test_a_statement_without_rows(self) -> None:
        """A statement that gives no rows answers with an empty list, and a percent sign is itself."""
        database = await self.table()
        self.assertEqual(await database.query("INSERT INTO seen VALUES (17 % 5)"), [])
        self.assertEqual(await database.query("SELECT n FROM seen"), [(2,)])

    async def test_transact_commits(self) -> None:
        """What a coroutine function wrote is there for everybody once it has returned, and its result comes back."""
        database = await self.table()

        async def write(cursor: Any) -> int:
            await cursor.execute("INSERT INTO seen VALUES (%s)", (1,))
            await cursor.execute("INSERT INTO seen VALUES (2), (3)")
            return int(cursor.rowcount)

        self.assertEqual(await database.transact(write), 2)
        self.assertEqual(await database.query("SELECT count(*) FROM seen"), [(3,)])

    async def test_transact_rolls_back(self) -> None:
        """A coroutine function that raises leaves nothing behind, and its error comes back."""
        database = await self.table(connections=1)

        async def fail(cursor: Any) -> None:
            await cursor.execute("INSERT INTO seen VALUES (1)")
            raise KeyError("mine")

        await self.assertFailure(database.transact(fail), KeyError)
        self.assertEqual(await database.query("SELECT count(*) FROM seen"), [(0,)])

    async def test_a_swallowed_error_is_no_commit(self) -> None:
        """A transaction that swallowed a statement's error is reported as rolled back, which it is."""
        database = await self.table()

        async def swallow(cursor: Any) -> None:
            await cursor.execute("INSERT INTO seen VALUES (1)")
            try:
                await cursor.execute("SELECT 1 / 0")
            except psycopg2.Error:
                pass

        await self.assertFailure(database.transact(swallow), psycopg2.errors.InFailedSqlTransaction)
        self.assertEqual(await database.query("SELECT count(*) FROM seen"), [(0,)])

    async def test_a_refused_statement(self) -> None:
        """The server's refusal comes back as psycopg2 names it, and the connection goes on."""
        database = await self.table(connections=1)
        await self.assertFailure(database.query("SELECT 1 / 0"), psycopg2.errors.DivisionByZero)
        for text in ("a\0b", "\ud800"):
            await self.assertFailure(database.query("SELECT %s", (text,)), psycopg2.DataError)
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_a_slow_statement(self) -> None:
        """A statement that takes too long is ended by the server, and the database is still in reach."""
        database = await self.open(connections=2, statement_s=0.1)
        await self.assertFailure(database.query("SELECT pg_sleep(60)"), StatementTooSlow)
        self.assertTrue(database.available)
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_more_callers_than_connections(self) -> None:
        """Callers wait for a free connection, but only so many: the next is refused at once."""
        database = await self.open(connections=1, waiting=2)
        first, second, third = (database.query("SELECT %s", (n,)) for n in range(3))
        self.failureResultOf(database.query("SELECT 9"), StorageUnavailable)
        self.assertEqual([await first, await second, await third], [[(0,)], [(1,)], [(2,)]])

    async def test_waiting_for_a_connection_ends(self) -> None:
        """A caller that gets no connection in time is told so."""
        database = await self.open(connections=1, answer_s=0.2, statement_s=60.0)
        blocked: Deferred[None] = Deferred()

        async def hold(cursor: Any) -> None:
            await cursor.execute("SELECT 1")
            await blocked

        holding = database.transact(hold)
        await self.assertFailure(database.query("SELECT 1"), StorageUnavailable)
        blocked.callback(None)
        await holding

    async def test_a_caller_leaves_while_waiting(self) -> None:
        """A caller that cancels before it has a connection makes room for another."""
        database = await self.open(connections=1, waiting=1)
        running = database.query("SELECT 1")
        leaving = database.query("SELECT 2")
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertEqual([await database.query("SELECT 3"), await running], [[(3,)], [(1,)]])

    async def test_a_caller_leaves_its_statement(self) -> None:
        """A caller that cancels is free at once; the connection is when the statement has ended."""
        database = await self.table(connections=1)
        leaving = database.query("INSERT INTO seen SELECT 1 FROM pg_sleep(0.05)")
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertEqual(await database.query("SELECT n FROM seen"), [(1,)])

    async def test_a_caller_leaves_its_transaction(self) -> None:
        """A transaction whose caller cancels is rolled back, at whichever statement that was, and bars nobody's way."""
        database = await self.table(connections=1)
        for statement in range(3):
            await self._cancel_at(database, statement)
            # Outside a transaction, it begins with its only statement.
            state = "SELECT (SELECT count(*) FROM seen), transaction_timestamp() = statement_timestamp()"
            self.assertEqual(await database.query(state), [(0, True)])

    async def _cancel_at(self, database: Database, statement: int) -> None:
        async def write(cursor: Any) -> None:
            for n in (1, 2):
                if n == statement:
                    reactor.callLater(0, writing.cancel)
                await cursor.execute("INSERT INTO seen SELECT 1 FROM pg_sleep(0.05)")

        writing = database.transact(write)
        if statement == 0:
            writing.cancel()
        await self.assertFailure(writing, CancelledError)

    async def test_killed_backends(self) -> None:
        """When the server ends connections, others take their place and nothing is logged as a defect."""
        database = await self.open(connections=2)
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
        )
        for pid in (0, (await database.query("SELECT pg_backend_pid()"))[0][0]):
            await database.query(others, (pid,)).addErrback(lambda failure: failure.trap(StorageUnavailable))
            await until(lambda: len(database._pool) == 2)
            self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_a_server_that_never_answers(self) -> None:
        """A connection attempt that nobody answers is given up and made again; callers are refused meanwhile."""
        silence = Silence()
        port = reactor.listenTCP(0, silence, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        dsn = read_dsn(f"host=127.0.0.1 port={port.getHost().port} user=x dbname=x password=hunter2 sslmode=disable")
        database = Database(reactor, dsn, DatabaseSettings(connections=1, connect_s=0.05, answer_s=0.1))
        database.start()
        await until(lambda: silence.accepted == 2)
        refused = self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)
        self.assertNotIn("hunter2", str(refused.value))
        await database.stop()
        await until(lambda: not silence.open)

    async def test_closing_ends_what_runs(self) -> None:
        """Whoever still waits when the pool is closed hears of it."""
        database = await self.open(connections=1)
        running, waiting = database.query("SELECT pg_sleep(60)"), database.query("SELECT 1")
        ended = [self.assertFailure(each, StorageUnavailable) for each in (running, waiting)]
        await database.stop()
        for each in ended:
            await each
        self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)

    async def test_listening(self) -> None:
        """A listener is told to read once it is connected, then hears every message; also after its connection died."""
        database = await self.open(connections=1)
        heard: list[str | None] = []
        database.listen("tokens", heard.append)
        await until(lambda: heard == [None])
        await database.query("NOTIFY tokens, 'a'")
        await until(lambda: heard == [None, "a"])
        await database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query = 'LISTEN tokens'"
        )
        await until(lambda: heard == [None, "a", None])
        await database.query("NOTIFY tokens, 'b'")
        await until(lambda: heard == [None, "a", None, "b"])

    async def test_a_schema_that_is_too_new(self) -> None:
        """Whoever waits for a database with a newer schema is told, and queries are refused with the reason."""

        async def refuse(link: Link) -> None:
            raise SchemaTooNew("from the future")

        database = Database(reactor, read_dsn(await fresh_database(reactor)), prepare=refuse)
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await self.assertFailure(database.reached(), SchemaTooNew)
        refused = self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)
        self.assertIn("from the future", str(refused.value))
        self.assertIsInstance(database.fault, SchemaTooNew)
