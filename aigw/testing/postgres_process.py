"""
A PostgreSQL for one run of the tests, in a process of its own: `python -m aigw.testing.postgres_process`.

It prints one line, the DSN of a database with the whole schema, and lives until its standard input is closed. That is
closed when the tests are over, whichever way they end, so nothing is left running and no file is left behind. It has
its own reactor, because trial kills whatever a test class leaves in the one of the tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.python.failure import Failure

from aigw.storage.database import Database
from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.settings import DatabaseSettings, EmbeddedSettings
from aigw.testing.elsewhere import elsewhere

BINDIR = "AIGW_TEST_PG_BINDIR"


class _UntilClosed(Protocol):
    """Standard input, of which only the end matters."""

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """See `Protocol`."""
        self.closed.callback(None)


async def _serve(reactor: Any) -> None:
    stdin = _UntilClosed()
    stdio = StandardIO(stdin, reactor=reactor)
    # A short path, for the socket's sake, that an unprivileged user can pass through when root runs the tests.
    folder = tempfile.mkdtemp(prefix="aigw-test-")
    os.chmod(folder, 0o711)  # noqa: S103 - the database's own folder in it is 0700
    bindir = os.environ.get(BINDIR, "")
    settings = EmbeddedSettings(bindir=bindir, connections=100, elsewhere=elsewhere(), sync=False)
    server = EmbeddedPostgres(reactor, Path(folder), settings)
    try:
        dsn = await server.start()
        database = Database(reactor, dsn, DatabaseSettings(connections=1))
        database.start()
        await database.reached()
        await database.stop()
        stdio.write(dsn.text.encode() + b"\n")
        await stdin.closed
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run until standard input is closed."""
    # Ctrl-C reaches every process of the terminal: the tests end first and close our input.
    os.setsid()
    react(lambda reactor: Deferred.fromCoroutine(_serve(reactor)))


if __name__ == "__main__":
    main()
