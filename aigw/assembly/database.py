"""The database of a process: one that runs already, or one that is started with the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.assembly.steps import Steps
from aigw.errors import AigwError, StorageUnavailable
from aigw.settings import Settings
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn, read_dsn
from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.late import LateDatabase

POSTGRES_RETRY_S = 5.0

_log = Logger()


def open_database(
    reactor: Any,
    settings: Settings,
    steps: Steps,
    give_up: Callable[[Failure], None],
    started: Callable[[Dsn], None] | None,
) -> LateDatabase:
    """
    Begin to connect to the database, or to start the embedded one.

    Args:
        reactor: For sockets and processes.
        settings: Of the process.
        steps: Gets what has to be stopped.
        give_up: Called with the reason when the database will never do.
        started: Called when the embedded server takes connections; None where another process starts it, and whoever
            hears of it calls `use_database`.
    """
    database = LateDatabase()
    steps.add(database.stop)

    def unreached(failure: Failure) -> None:
        """The database will not do, as it is, or the process stops before it has answered."""
        if failure.check(StorageUnavailable) is None:
            give_up(failure)

    # Only the first answer can end the process: one whose database was migrated by a newer release, while it ran, goes
    # on serving with its logs in the spool.
    database.reached().addErrback(unreached)
    if settings.database is not None:
        use_database(reactor, settings, database, read_dsn(settings.database))
    elif started is not None:
        postgres = EmbeddedPostgres(reactor, settings.data_path(), settings.embedded())
        starting = Deferred.fromCoroutine(_start_postgres(reactor, settings, postgres, database))
        starting.addCallback(started)
        starting.addErrback(lambda failure: failure.trap(CancelledError))
        # Below the connections, so that it stops after them.
        steps.add_below(lambda: _cancel_then(starting, postgres.stop))
    return database


def use_database(reactor: Any, settings: Settings, database: LateDatabase, dsn: Dsn) -> None:
    """Connect to a server that runs."""
    real = Database(reactor, dsn, settings.pool)
    real.start()
    database.arrived(real)


async def _start_postgres(reactor: Any, settings: Settings, postgres: EmbeddedPostgres, database: LateDatabase) -> Dsn:
    """Start the embedded server; whatever stands in its way, the gateway serves and its logs wait in the spool."""
    while True:
        try:
            dsn = await postgres.start()
            break
        except (AigwError, OSError) as error:
            _log.error("PostgreSQL could not be started, logs wait in the spool: {error}", error=error)
            await deferLater(reactor, POSTGRES_RETRY_S)
    use_database(reactor, settings, database, dsn)
    return dsn


async def _cancel_then(running: Deferred[Any], stop: Callable[[], Awaitable[None]]) -> None:
    running.cancel()
    await stop()
