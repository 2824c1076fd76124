"""
A real PostgreSQL for tests: one server a test process, one fresh database a call.

The programs come from wherever `aigw.storage.postgres_binaries` finds them; `AIGW_TEST_PG_BINDIR` names others.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
from collections import deque
from itertools import count
from typing import Any

from aigw.storage.database import Database
from aigw.storage.dsn import Dsn, read_dsn
from aigw.storage.link import Link
from aigw.storage.settings import DatabaseSettings
from aigw.testing.elsewhere import elsewhere

START_S = 60.0
# The last few databases are kept, for a test may use several; older ones would only fill the disk.
KEPT = 4


class _Server:
    """The process behind all databases of this test run."""

    def __init__(self) -> None:
        # Made by the tests' own process, so that it outlives the server.
        elsewhere()
        # trial has changed the working directory, so a path relative to that is no longer one.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aigw.testing.postgres_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        atexit.register(self.stop)
        assert self.process.stdout is not None
        # Waiting blocks the reactor, once, for about a second: no test has begun to measure anything.
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line:
            self.stop()
            raise RuntimeError("No PostgreSQL for the tests; standard error says why")
        self.template = read_dsn(line.strip())
        self.numbers = count(1)
        self.databases: deque[str] = deque()

    def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        self.process.communicate()


_servers: list[_Server] = []


async def fresh_database(reactor: Any) -> str:
    """
    A database that nobody has used yet, with the whole schema.

    Args:
        reactor: The test's.
    Returns:
        Its DSN.
    """
    if not _servers:
        _servers.append(_Server())
    server = _servers[0]
    name = f"test_{next(server.numbers)}"
    statements = [f'CREATE DATABASE {name} TEMPLATE "{server.template.parameters["dbname"]}"']
    server.databases.append(name)
    if len(server.databases) > KEPT:
        statements.insert(0, f"DROP DATABASE {server.databases.popleft()} WITH (FORCE)")
    await _administer(reactor, server.template.on_database("postgres"), statements)
    return server.template.on_database(name).text


async def _administer(reactor: Any, dsn: Dsn, statements: list[str]) -> None:
    database = Database(reactor, dsn, DatabaseSettings(connections=1), prepare=_nothing)
    database.start()
    try:
        await database.reached()
        for statement in statements:
            await database.query(statement)
    finally:
        await database.stop()


async def _nothing(link: Link) -> None:
    """The server's own database gets no schema."""
