"""
A PostgreSQL of our own: made on the first start, run as a child process, ended with the gateway.

The wheel that brings the programs also brings a process manager, which is not used: it believes any living number in
a pid file, makes users, loosens the modes of parent folders and blocks.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import PostgresNotStarted
from aigw.storage.dsn import DEFAULTS, Dsn
from aigw.storage.postgres_binaries import PostgresBinaries, find_binaries
from aigw.storage.postgres_home import PostgresHome, copy_binaries, lock, prepare_home
from aigw.storage.postmaster import end_processes, is_ready, processes_of
from aigw.storage.program import Program
from aigw.storage.settings import EmbeddedSettings

# The one role and the one database. Trust is enough: only the owner of a 0700 folder gets to the socket.
NAME = "aigw"
LOOK_S = 0.01
RESTART_S = (0.5, 10.0)


class EmbeddedPostgres:
    """
    One server, from `start` to `stop`; in between, it is started again whenever it dies.

    Args:
        reactor: Runs the processes and the clocks.
        data_dir: The gateway's data folder.
        settings: See there.

    Attributes:
        notes: What the operator should be told about this start.
    """

    def __init__(self, reactor: Any, data_dir: Path, settings: EmbeddedSettings | None = None) -> None:
        self.notes: list[str] = []
        self._reactor = reactor
        self._data_dir = data_dir
        self._settings = settings = settings or EmbeddedSettings()
        self._elsewhere = Path(settings.elsewhere)
        self._bindir = Path(settings.bindir) if settings.bindir else None
        self._log = Logger()
        self._home: PostgresHome
        self._binaries: PostgresBinaries
        self._lock = -1
        self._server: Program | None = None
        self._stopping = False
        self._restart: IDelayedCall | None = None
        self._reviving: Deferred[None] | None = None
        self._restart_s = RESTART_S[0]

    async def start(self) -> Dsn:
        """
        Make what is missing, end what an earlier process left behind, and run the server.

        Returns:
            How to reach it, once it takes connections.
        Raises:
            PostgresNotStarted: With the reason, and the last lines that the server wrote.
        """
        self._stopping = False
        self.notes.clear()
        self._home = prepare_home(self._data_dir, self._elsewhere)
        if self._home.relocated:
            self._note(
                f"The database is kept in {self._home.root}: {self._home.user.name} cannot enter {self._data_dir}"
            )
        self._lock = lock(self._home)
        try:
            self._binaries = await self._reachable_binaries()
            orphans = processes_of(self._home.cluster)
            if orphans:
                self._note(f"Ended a PostgreSQL (process {orphans[0]}) that an earlier gateway left behind")
            await end_processes(self._reactor, self._home.cluster, self._settings.stop_s)
            if self._home.major is None:
                await self._make_cluster()
            await self._run_server()
        except BaseException:
            await self.stop()
            raise
        return Dsn({**DEFAULTS, "host": str(self._home.sockets), "port": "5432", "dbname": NAME, "user": NAME})

    async def stop(self) -> None:
        """
        End the server and wait until it is gone. Does nothing when it does not run.

        Raises:
            PostgresNotStarted: It cannot be ended.
        """
        self._stopping = True
        if self._restart is not None and self._restart.active():
            self._restart.cancel()
        if self._reviving is not None:
            self._reviving.cancel()
        try:
            if self._lock >= 0:
                await self._end_server()
                if self._home.sockets != self._home.root:
                    shutil.rmtree(self._home.sockets, ignore_errors=True)
        finally:
            self._server = None
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    async def _reachable_binaries(self) -> PostgresBinaries:
        found = await find_binaries(self._reactor, self._bindir, self._home.major)
        user = self._home.user
        if not user.switched or user.may_enter(found.bindir):
            return found
        self._note(
            f"Programs of PostgreSQL {found.version} are copied below {self._elsewhere}:"
            f" {user.name} cannot enter {found.bindir}"
        )
        pool = self._reactor.getThreadPool()
        return await deferToThreadPool(self._reactor, pool, copy_binaries, found, self._elsewhere)

    async def _make_cluster(self) -> None:
        """Make the data directory under another name first: what carries the final name is complete."""
        cluster = self._home.cluster
        for unfinished in cluster.parent.glob("data.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        new = cluster.with_name(f"data.new-{secrets.token_hex(4)}")
        options = ["-U", NAME, "-A", "trust", "-E", "UTF8", "--no-locale"]
        if not self._settings.sync:
            # Half of the time goes into the zeros of the first WAL segment, which is 16 MiB long otherwise.
            options += ["--no-sync", "--wal-segsize=1"]
        await self._run("initdb", "-D", str(new), *options)
        await self._run("postgres", "--single", "-D", str(new), "postgres", stdin=b"CREATE DATABASE aigw\n")
        new.rename(cluster)
        folder = os.open(cluster.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    async def _run(self, program: str, *arguments: str, stdin: bytes = b"") -> None:
        running = self._spawn(program, *arguments)
        running.write(stdin)
        try:
            await running.ended()
        finally:
            running.signal("KILL")
        if not running.succeeded:
            raise PostgresNotStarted(f"{program} failed: {running.last_words}")

    async def _run_server(self) -> None:
        """Start the server and wait until it takes connections."""
        # We hold the lock and no process works here. PostgreSQL itself would refuse to start if the number in a file
        # that a crash left behind now belonged to any other program of the same user.
        (self._home.cluster / "postmaster.pid").unlink(missing_ok=True)
        server = self._server = self._spawn("postgres", *self._server_arguments(), own_session=True)
        deadline = self._reactor.seconds() + self._settings.start_s
        while not is_ready(self._home.cluster, server.pid):
            if not server.running:
                raise PostgresNotStarted(f"PostgreSQL ended while it started: {server.last_words}")
            if self._reactor.seconds() >= deadline:
                raise PostgresNotStarted(
                    f"PostgreSQL was not ready after {self._settings.start_s} s: {server.last_words}"
                )
            await deferLater(self._reactor, LOOK_S)
        self._restart_s = RESTART_S[0]
        server.ended().addCallback(self._server_ended, server)

    def _server_arguments(self) -> list[str]:
        settings = self._settings
        given = {
            "listen_addresses": "",
            "port": "5432",
            # A list: without the quotes, a comma in the path would end the entry.
            "unix_socket_directories": '"' + str(self._home.sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "max_connections": str(settings.connections),
            "shared_buffers": f"{settings.shared_buffers_mb}MB",
            "max_wal_size": "512MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_destination": "stderr",
            "logging_collector": "off",
            "log_checkpoints": "off",
            "log_line_prefix": "",
            # A failed statement's text and details hold what clients asked: neither belongs into a log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            # The spool's position is committed with its rows, so losing the last commits would lose nothing. But
            # other writes (a token made or revoked) have no spool behind them.
            "synchronous_commit": "on",
            "fsync": "on" if settings.sync else "off",
        }
        return ["-D", str(self._home.cluster), *(f"--{key}={value}" for key, value in given.items())]

    def _spawn(self, program: str, *arguments: str, own_session: bool = False) -> Program:
        path = str(self._binaries.bindir / program)
        # PostgreSQL finds its other files by the full path in argv[0].
        command = [path, *arguments]
        setsid = shutil.which("setsid") if own_session else None
        if setsid:
            # Ctrl-C signals every process of the terminal's group; the database has to outlive the gateway's drain.
            command = [setsid, *command]
        user = self._home.user
        running = Program(program)
        self._reactor.spawnProcess(
            running,
            command[0],
            command,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            path="/",
            uid=user.uid if user.switched else None,
            gid=user.gid if user.switched else None,
        )
        return running

    async def _end_server(self) -> None:
        server = self._server
        if server is not None:
            # A child that was made a moment ago is not yet to be seen as a process of the data directory.
            server.signal("INT")
        await end_processes(self._reactor, self._home.cluster, self._settings.stop_s)
        if server is not None and server.running:
            last_resort = self._reactor.callLater(self._settings.stop_s, server.signal, "KILL")
            await server.ended()
            if last_resort.active():
                last_resort.cancel()

    def _server_ended(self, _: None, server: Program) -> None:
        if not self._stopping:
            self._log.error("PostgreSQL ended by itself and is started again: {words}", words=server.last_words)
            self._start_again_later()

    def _start_again_later(self) -> None:
        self._restart = self._reactor.callLater(self._restart_s, self._start_again)
        self._restart_s = min(self._restart_s * 2, RESTART_S[1])

    def _start_again(self) -> None:
        self._reviving = Deferred.fromCoroutine(self._revive()).addErrback(self._not_revived)

    async def _revive(self) -> None:
        await end_processes(self._reactor, self._home.cluster, self._settings.stop_s)
        await self._run_server()

    def _not_revived(self, failure: Failure) -> None:
        if self._stopping:
            return
        self._log.error("PostgreSQL could not be started again: {why}", why=failure.getErrorMessage())
        self._start_again_later()

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._log.info("{note}", note=text)
