"""Tests of aigw.logs.service: the logs of a process from its start to its stop."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import ConfigurationError, Interrupted
from aigw.logs.ledger import load_ledger
from aigw.logs.service import LogService
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.testing.postgres import fresh_database
from aigw.values.counting import Charged, Correction
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

    async def test_older_spools(self) -> None:
        """Who builds counters anew is told when all that dead processes had left is there, and not before."""
        self.database.start()
        await self.database.reached()
        alone = self.start()
        await alone.older_spools_shipped()
        dead = SpoolCase(self.root)
        dead.spool.end(self.records.end(charged=(Charged("spend:a", 1, 2**42, 7),)), lambda: None)
        dead.turn()
        dead.directory.release()
        service = self.start()
        older = service.older_spools_shipped()
        self.assertNoResult(older)
        await self.log(service)
        await older
        self.assertEqual(await load_ledger(self.database, service.spool_id), [Correction("spend:a", 1, 7, 2**42)])
        await service.close()
        await alone.close()

    async def test_older_spools_without_a_database(self) -> None:
        """Without a database the wait goes on until there is one; who waits may give up."""
        dead = SpoolCase(self.root)
        dead.spool.end(self.records.end(), lambda: None)
        dead.turn()
        dead.directory.release()
        service = self.start()
        older, given_up = service.older_spools_shipped(), service.older_spools_shipped()
        given_up.cancel()
        await self.assertFailure(given_up, CancelledError)
        await self.log(service)
        self.assertNoResult(older)
        self.database.start()
        await older
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
