"""The embedded server: made, started, left behind, taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from aigw.errors import PostgresNotStarted
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn
from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.postgres_home import SOCKET_FOLDER_BYTES
from aigw.storage.postmaster import processes_of
from aigw.storage.settings import DatabaseSettings
from tests.storage.own_server import OwnServerTestCase, settings, until


class EmbeddedTests(OwnServerTestCase):
    """What the operator sees of it."""

    async def ask(self, dsn: Dsn, sql: str) -> str:
        """One value out of the database."""
        database = Database(reactor, dsn, DatabaseSettings(connections=1))
        database.start()
        try:
            await database.reached()
            return str((await database.query(sql))[0][0])
        finally:
            await database.stop()

    async def test_first_start(self) -> None:
        """The first start makes a UTF-8 database that only our own folder leads to, and listens on no port."""
        dsn = await self.server().start()
        self.assertEqual(await self.ask(dsn, "SHOW listen_addresses"), "")
        self.assertEqual(await self.ask(dsn, "SHOW server_encoding"), "UTF8")
        self.assertEqual(await self.ask(dsn, "SELECT current_database() || ' ' || current_user"), "aigw aigw")
        self.assertEqual(mode_of(Path(dsn.parameters["host"])), 0o700)

    async def test_second_start(self) -> None:
        """What was written is there after a stop and a start."""
        server = self.server()
        await self.ask(await server.start(), "CREATE TABLE kept AS SELECT 7 AS n; SELECT 1")
        await server.stop()
        self.assertEqual(processes_of(self.cluster), [])
        self.assertEqual(await self.ask(await server.start(), "SELECT n FROM kept"), "7")
        self.assertEqual(server.notes, [])

    async def test_statements_are_not_logged(self) -> None:
        """What clients asked is in no log line, not even when its INSERT failed."""
        server = self.server()
        dsn = await server.start()
        failing = "SELECT 1 / (length('my secret prompt') - 16)"
        await self.assertFailure(Deferred.fromCoroutine(self.ask(dsn, failing)), Exception)
        assert server._server is not None
        self.assertIn("division by zero", server._server.last_words)
        self.assertNotIn("secret", server._server.last_words)

    async def test_own_session(self) -> None:
        """Ctrl-C in the gateway's terminal does not reach the database, which has to outlive the drain."""
        await self.server().start()
        self.assertNotEqual(os.getsid(processes_of(self.cluster)[0]), os.getsid(0))

    async def test_two_gateways(self) -> None:
        """A second gateway on the same data folder is refused, and the first one's database stays up."""
        dsn = await self.server().start()
        await self.assertFailure(Deferred.fromCoroutine(self.server().start()), PostgresNotStarted)
        self.assertEqual(await self.ask(dsn, "SELECT 1"), "1")

    async def test_stopping_twice(self) -> None:
        """A stop without a start, and a second stop, do nothing."""
        server = self.server()
        await server.stop()
        await server.start()
        await server.stop()
        await server.stop()

    async def test_a_broken_cluster(self) -> None:
        """A server that cannot start says why, in its own words, and leaves nothing running."""
        server = self.server()
        await server.start()
        await server.stop()
        (self.cluster / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
        failure = await self.assertFailure(Deferred.fromCoroutine(server.start()), PostgresNotStarted)
        self.assertIn("no_such_setting", str(failure))
        self.assertEqual(processes_of(self.cluster), [])

    async def test_an_unfinished_first_start(self) -> None:
        """What a first start that was cut off left behind is thrown away."""
        leftover = self.data_dir / "postgres" / "data.new-abcd"
        server = self.server()
        await server.start()
        await server.stop()
        os.rename(self.cluster, leftover)
        await server.start()
        self.assertFalse(leftover.exists())

    async def test_a_long_path(self) -> None:
        """A data folder too deep for a socket's path still gets a server, its socket in a private folder elsewhere."""
        self.data_dir = self.data_dir / ("d" * SOCKET_FOLDER_BYTES)
        server = self.server()
        dsn = await server.start()
        sockets = Path(dsn.parameters["host"])
        self.assertFalse(sockets.is_relative_to(self.data_dir))
        self.assertEqual(mode_of(sockets), 0o700)
        self.assertEqual(await self.ask(dsn, "SELECT 1"), "1")
        await server.stop()
        self.assertFalse(os.path.lexists(sockets))

    async def test_a_private_data_folder(self) -> None:
        """Root's database is put where its user can reach it, and found there again; anybody else's stays inside."""
        elsewhere = self.data_dir / "lib"
        private = self.data_dir / "private"
        private.mkdir(mode=0o700)
        server = EmbeddedPostgres(reactor, private, settings(elsewhere=str(elsewhere)))
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        dsn = await server.start()
        inside = Path(dsn.parameters["host"]).is_relative_to(private)
        self.assertEqual(inside, os.geteuid() != 0)
        self.assertEqual(any(str(elsewhere) in note for note in server.notes), not inside)
        self.assertEqual(mode_of(private), 0o700)
        await server.stop()
        moved = EmbeddedPostgres(reactor, private.rename(self.data_dir / "moved"), settings(elsewhere=str(elsewhere)))
        self.addCleanup(lambda: Deferred.fromCoroutine(moved.stop()))
        self.assertEqual((await moved.start()).parameters["host"] == dsn.parameters["host"], not inside)


class OrphanTests(OwnServerTestCase):
    """A gateway was killed and left its server running."""

    def run_as_owner(self, program: str) -> subprocess.Popen[bytes]:
        """A program of the user who owns the database; PostgreSQL takes no notice of anybody else's."""
        owner = self.cluster.stat().st_uid
        process = subprocess.Popen([program], stdin=subprocess.PIPE, user=owner if os.geteuid() == 0 else None)
        self.addCleanup(process.communicate)
        return process

    def run_python(self, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of its own, ended with the test."""
        command = [sys.executable, "-c", code, *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    async def orphan(self) -> int:
        """Kill a gateway with SIGKILL while its server runs; the server's process."""
        gateway = self.run_python(GATEWAY, str(self.data_dir))
        await until(lambda: (self.data_dir / "ready").exists() or gateway.poll() is not None)
        gateway.kill()
        gateway.communicate()
        pids = processes_of(self.cluster)
        self.assertNotEqual(pids, [])
        return pids[0]

    async def take_over(self, orphan: int) -> None:
        """Start anew and find another process, alone, and what the first one wrote."""
        server = self.server()
        dsn = await server.start()
        self.assertNotIn(orphan, processes_of(self.cluster))
        self.assertIn(str(orphan), server.notes[0])
        database = Database(reactor, dsn, DatabaseSettings(connections=1))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_running_orphan(self) -> None:
        """The next start ends the server that was left behind and runs its own on the same data."""
        await self.take_over(await self.orphan())

    async def test_frozen_orphan(self) -> None:
        """A server that was left behind stopped (SIGSTOP) cannot hold up the next start."""
        orphan = await self.orphan()
        self.send(signal.SIGSTOP)
        await self.take_over(orphan)

    async def test_pid_of_another_program(self) -> None:
        """A pid file whose number now belongs to another program neither stops the start nor harms that program."""
        server = self.server()
        await server.start()
        await server.stop()
        bystander = self.run_as_owner("cat")
        stale = f"{bystander.pid}\n{self.cluster}\n1\n5432\n{self.cluster.parent}\n\n  1 1\nready\n"
        (self.cluster / "postmaster.pid").write_text(stale)
        await server.start()
        self.assertEqual(server.notes, [])
        self.assertIsNone(bystander.poll())


def mode_of(path: Path) -> int:
    """Permission bits."""
    return path.stat().st_mode & 0o777


GATEWAY = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from aigw.storage.embedded import EmbeddedPostgres
from tests.storage.own_server import settings
folder = Path(sys.argv[1])
server = EmbeddedPostgres(reactor, folder, settings())
Deferred.fromCoroutine(server.start()).addCallbacks(lambda _: (folder / "ready").touch(), lambda _: reactor.stop())
reactor.run()
"""
