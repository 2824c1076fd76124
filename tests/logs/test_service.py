"""Tests of aigw.logs.service: the logs of a process from its start to its stop."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import ConfigurationError, Interrupted
from aigw.logs.service import LogService
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.testing.postgres import fresh_database
from tests.logs.records import Records, SpoolCase

SHIPPER = ShipperSettings(ship_every_s=0.01, backoff_s=0.05)


class ServiceTests(TestCase):
    """Processes that follow each other on one folder and one database."""

    async def setUp(self) -> None:
        """A database, and a folder."""
        self.database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        self.root = Path(self.mktemp())
        self.records = Records(time.time_ns() // 1_000_000)

    def start(self, durability: str = "process") -> LogService:
        """A process that takes records, its database not yet in reach."""
        spool = SpoolSettings(durability=durability, segment_bytes=65_536, spool_bytes=1_048_576)  # type: ignore[arg-type]
        service = LogService(reactor, self.root, spool, SHIPPER)
        service.open()
        service.ship_to(self.database, ensure_partitions)
        self.addCleanup(lambda: Deferred.fromCoroutine(service.close()))
        return service

    async def log(self, service: LogService) -> str:
        """One exchange, safe; its event id."""
        safe: Deferred[None] = Deferred()
        begin = self.records.begin(event_id=f"e{id(safe)}")
        service.sink.begin(begin, lambda: None)
        service.sink.end(self.records.end(begin), lambda: safe.callback(None))
        await safe
        return begin.origin.event_id

    async def test_logs_before_the_database(self) -> None:
        """The gateway takes requests while PostgreSQL is still starting; their logs are there when it is."""
        service = self.start()
        logged = [await self.log(service) for _ in range(3)]
        self.database.start()
        await service.shipped()
        self.assertEqual([view.event_id for view in await service.list()], logged[::-1])
        await service.close()

    async def test_power(self) -> None:
        """With durability against a loss of power, all goes the same way."""
        self.database.start()
        service = self.start("power")
        logged = await self.log(service)
        await service.shipped()
        self.assertEqual([view.event_id for view in await service.list()], [logged])
        await service.close()
        self.assertEqual(list(self.root.iterdir()), [])

    async def test_the_next_start_ships_what_the_last_one_left(self) -> None:
        """What was running when a process died, and what it could not ship, are rows after the next start."""
        dead = SpoolCase(self.root)
        done, running = self.records.begin(), self.records.begin()
        for begin in (done, running):
            dead.spool.begin(begin, lambda: None)
        dead.spool.end(self.records.end(done), lambda: None)
        dead.turn()
        dead.directory.release()
        self.database.start()
        service = self.start()
        await service.shipped()
        self.assertEqual([view.error_code for view in await service.list()], [Interrupted.code, 0])
        self.assertEqual(service.stats.interrupted, 1)
        self.assertFalse(dead.directory.path.exists())
        await service.close()

    async def test_a_stop_with_running_exchanges_keeps_them(self) -> None:
        """Exchanges that never ended are told by the next start, even after a stop that shipped the rest."""
        self.database.start()
        service = self.start()
        service.sink.begin(self.records.begin(), lambda: None)
        await service.close()
        service = self.start()
        await service.shipped()
        self.assertEqual([view.error_code for view in await service.list()], [Interrupted.code])
        await service.close()

    async def test_adopting_a_disk_from_elsewhere(self) -> None:
        """`adopt` ships the spool of another machine once, however often it is called."""
        elsewhere = Path(self.mktemp())
        other = SpoolCase(elsewhere)
        other.spool.end(self.records.end(cost_nanousd=5), lambda: None)
        other.turn()
        other.directory.release()
        self.database.start()
        service = self.start()
        for _ in range(2):
            self.assertEqual(await service.adopt(elsewhere), 1)
            await service.shipped()
        self.assertEqual(
            await self.database.query("SELECT sum(cost_nanousd), sum(requests) FROM usage_rollups"), [(5, 1)]
        )
        self.assertTrue(other.directory.path.exists())
        await self.assertFailure(Deferred.fromCoroutine(service.adopt(Path(self.mktemp()))), ConfigurationError)
        await service.close()
