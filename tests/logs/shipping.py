"""A spool, a shipper and a real PostgreSQL for the tests of this folder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.logs.directory import SpoolDirectory
from aigw.logs.quarantine import Quarantine
from aigw.logs.quota import Quota
from aigw.logs.settings import ShipperSettings
from aigw.logs.shipper import Shipper
from aigw.logs.source import Source
from aigw.logs.spool import Spool
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.logs.window import Window
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn, read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from tests.logs.records import SMALL, Records

QUICK = ShipperSettings(ship_every_s=0.01, backoff_s=0.05)


@implementer(IDatabase)
class Between:
    """
    A database that fails as the test wishes, with the real one behind it.

    Attributes:
        down: Everything fails before it is sent.
        lose_answers: So many of the next transactions are committed, and their caller is told of a failure.
        repeat: The next transaction is committed twice, as when one that was given up commits late.
        during: Called once in the middle of the next transaction.
        transactions: How many there were.
    """

    def __init__(self, real: Database) -> None:
        self._real = real
        self.down = False
        self.lose_answers = 0
        self.repeat = False
        self.during: Callable[[], object] | None = None
        self.transactions = 0
        self._reached: list[Callable[[], None]] = []

    @property
    def available(self) -> bool:
        """See `IDatabase`."""
        return self._real.available and not self.down

    def query(self, sql: str, parameters: Any = ()) -> Deferred[list[tuple[Any, ...]]]:
        """See `IDatabase`."""
        return Deferred.fromCoroutine(self._query(sql, parameters))

    async def _query(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        self._check()
        return await self._real.query(sql, parameters)

    def transact(self, interaction: Callable[[Any], Awaitable[Any]]) -> Deferred[Any]:
        """See `IDatabase`."""
        return Deferred.fromCoroutine(self._transact(interaction))

    async def _transact(self, interaction: Callable[[Any], Awaitable[Any]]) -> Any:
        self._check()
        self.transactions += 1
        during, self.during = self.during, None
        if during is not None:
            during()
        result = await self._real.transact(interaction)
        if self.repeat:
            self.repeat = False
            await self._real.transact(interaction)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StorageUnavailable("the answer was lost")
        return result

    def when_available(self, call: Callable[[], None]) -> None:
        """See `IDatabase`."""
        self._reached.append(call)
        self._real.when_available(call)

    def come_back(self) -> None:
        """Be in reach again."""
        self.down = False
        for call in self._reached:
            call()

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable("down")


class ShippingCase(TestCase):
    """Ships from a spool in a folder to a fresh database."""

    timeout = 30
    settings = QUICK
    spool_settings = SMALL
    database_settings = DatabaseSettings()

    async def setUp(self) -> None:
        """Start all of it."""
        self.real = Database(reactor, await self.dsn(), self.database_settings)
        self.real.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.real.stop()))
        await self.real.reached()
        self.database = Between(self.real)
        self.records = Records(time.time_ns() // 1_000_000)
        self.root = Path(self.mktemp())
        self.open()

    async def dsn(self) -> Dsn:
        """Where the database is."""
        return read_dsn(await fresh_database(reactor))

    def open(self) -> None:
        """Open a spool and ship it, as a process does at its start."""
        self.stats = LogStats()
        self.quota = Quota(self.spool_settings.spool_bytes, self.stats)
        self.directory = SpoolDirectory.create(self.root, uuid.uuid4())
        volume = Volume()
        self.spool = Spool(self.directory, reactor, self.spool_settings, self.quota, self.stats, volume)
        self.quarantine = Quarantine(self.directory.refused, self.directory.spool_id, volume, self.quota, self.stats)
        self.shipper = self.make_shipper()
        self.shipper.add(Source(self.directory, self.spool.written_to, lambda: not self.quarantine.empty))
        self.spool.when_written(self.shipper.wake)
        self.shipper.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.close()))

    def make_shipper(self) -> Shipper:
        """A shipper over the present parts."""
        window = Window(ensure_partitions, lambda: time.time_ns() // 1_000_000, self.settings.oldest_days)
        parts = (self.database, reactor, self.settings, self.stats, self.quota, self.quarantine, window)
        return Shipper(*parts)

    async def close(self, flush_s: float = 5.0) -> None:
        """Stop as a process does."""
        if self.spool is not None:
            spool, self.spool = self.spool, None
            await spool.close()
            await self.shipper.stop(flush_s)

    def log(self, **fields: Any) -> bytes:
        """One exchange from begin to end; its id."""
        origin = fields.pop("origin", {})
        begin = self.records.begin(**origin)
        self.spool.begin(begin, lambda: None)
        self.spool.end(self.records.end(begin, **fields), lambda: None)
        return begin.origin.id

    async def shipped(self) -> None:
        """Wait until all that was logged is shipped."""
        written: Deferred[None] = Deferred()
        begin = self.records.begin()
        self.spool.begin(begin, lambda: written.callback(None))
        await written
        await self.shipper.drained()

    async def count(self, table: str, what: str = "count(*)") -> Any:
        """What a table adds up to."""
        return (await self.real.query(f"SELECT {what} FROM {table}"))[0][0]

    async def ids(self) -> list[bytes]:
        """Ids of all rows, sorted."""
        return [uuid.UUID(row[0]).bytes for row in await self.real.query("SELECT id::text FROM logs ORDER BY id")]
