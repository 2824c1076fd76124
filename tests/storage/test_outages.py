"""The pool while its server is away, killed or frozen."""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from aigw.errors import StorageUnavailable
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn
from aigw.storage.settings import DatabaseSettings
from tests.storage.own_server import OwnServerTestCase, until


class OutageTests(OwnServerTestCase):
    """What a caller sees when PostgreSQL is not there."""

    def pool(self, dsn: Dsn, **settings: Any) -> Database:
        """A started pool."""
        database = Database(reactor, dsn, DatabaseSettings(**{"answer_s": 0.4, "connect_s": 0.4} | settings))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        return database

    async def test_no_server_at_the_start(self) -> None:
        """Without a server a query fails at once; the pool finds the server when it comes, also a second time."""
        server = self.server()
        dsn = await server.start()
        await server.stop()
        database = self.pool(dsn)
        reached: list[bool] = []
        database.when_available(lambda: reached.append(True))
        self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)
        for times in (1, 2):
            await server.start()
            await until(lambda times=times: len(reached) == times)
            self.assertEqual(await database.query("SELECT 1"), [(1,)])
            await server.stop()
            await until(lambda: not database.available)
            self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)

    async def test_frozen_server(self) -> None:
        """
        While the server is stopped (SIGSTOP) the reactor turns, a query fails in time, the next ones at once, and when
        the server goes on, so do they.
        """
        database = self.pool(await self.server().start(), connections=2)
        await database.reached()
        self.send(signal.SIGSTOP)
        gaps: list[float] = []
        turning = LoopingCall(lambda: gaps.append(reactor.seconds()))
        turning.start(0.01).addErrback(self.fail)
        asked = reactor.seconds()
        running = database.query("SELECT 1")
        # More than a socket takes: the rest waits inside libpq, where closing the connection must not block, either.
        large = database.query("SELECT length(%s)", ("x" * 5_000_000,))
        await self.assertFailure(running, StorageUnavailable)
        await self.assertFailure(large, StorageUnavailable)
        self.assertGreaterEqual(reactor.seconds() - asked, 0.4)
        self.failureResultOf(database.query("SELECT 1"), StorageUnavailable)
        # Long enough for connection attempts to a frozen server, which have to be given up as well.
        await until(lambda: reactor.seconds() - asked > 1.5)
        turning.stop()
        self.send(signal.SIGCONT)
        await database.reached()
        self.assertEqual(await database.query("SELECT 1"), [(1,)])
        # Not a measure of speed: libpq's blocking calls would have held the reactor until SIGCONT.
        self.assertLess(max(b - a for a, b in pairwise(gaps)), 0.4)

    async def test_killed_server(self) -> None:
        """A server that is killed is started again by itself, and the pool finds it."""
        database = self.pool(await self.server().start())
        await database.reached()
        self.send(signal.SIGKILL)
        await until(lambda: not database.available)
        await database.reached()
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_stopping_while_frozen(self) -> None:
        """A pool can be closed while its server is frozen, with statements and connection attempts under way."""
        database = self.pool(await self.server().start(), connections=2, answer_s=30.0, connect_s=30.0)
        await until(lambda: len(database._free) == 2)
        self.send(signal.SIGSTOP)
        running = self.assertFailure(database.query("SELECT 1"), StorageUnavailable)
        database._unreachable("for the test: the other connection is opened anew")
        await until(lambda: any(not link.is_open for link in database._links))
        await database.stop()
        await running
