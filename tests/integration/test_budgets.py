"""Budgets across the death of a process: from a hold to the log, to PostgreSQL, and back into counters."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.controls.estimate import Estimates, EstimateSettings
from aigw.controls.hold import Hold, Till
from aigw.controls.rebuild import Rebuild
from aigw.controls.reserve import Reserve
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.controls.stage_counts import StageCounts
from aigw.errors import SpendLimitExceeded
from aigw.logs.ledger import load_ledger
from aigw.logs.service import LogService
from aigw.state.memory_counters import REBUILT_PREFIX, MemoryCounters
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from aigw.values.record import Begin
from tests.controls.visits import budget, budgeted, fixed_price, visit
from tests.logs.records import SMALL, Records, SpoolCase
from tests.logs.shipping import QUICK

# Windows of a year, so that none ends while a test runs.
TEN_CENTS = budgeted(budget(0.1, window=31_536_000))
CENT = visit(TEN_CENTS, price=fixed_price(0.01))


class Process:
    """What one process counts in."""

    def __init__(self) -> None:
        self.counters = MemoryCounters(reactor, utc_ms, rebuilt_prefix=REBUILT_PREFIX)
        till = Till(self.counters, Estimates(EstimateSettings()), utc_ms)
        self.reserve = Reserve(till, (GatewaySpendLimits(),), StageCounts())

    def let_through(self) -> int:
        """How many requests pass until the budget refuses one; they go on running."""
        passed = 0
        while True:
            try:
                self.reserve.take(CENT)
            except SpendLimitExceeded:
                return passed
            passed += 1


def utc_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class RestartTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:
        """A database, and an empty folder for spools."""
        self.database = Database(reactor, read_dsn(await fresh_database(reactor)), DatabaseSettings())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        self.root = Path(self.mktemp())
        self.records = Records(utc_ms())

    def killed(self) -> None:
        """
        A process that spent: two cents were answered, one of them for half; one failed; three were running. Then it was
        killed, before anything was shipped.
        """
        process, dead = Process(), SpoolCase(self.root)
        process.counters.rebuilt()
        outcomes = (10_000_000, 5_000_000, None, *(3 * ["running"]))
        for outcome in outcomes:
            hold = process.reserve.take(CENT)
            assert isinstance(hold, Hold)
            begin = self.records.begin()
            dead.spool.begin(Begin(begin.origin, begin.target, hold.charged), lambda: None)
            if outcome != "running":
                cost = outcome if isinstance(outcome, int) else None
                charged = hold.settle(None, cost, failed=cost is None)
                dead.spool.end(self.records.end(begin, charged=charged), lambda: None)
        dead.turn()
        dead.directory.release()

    async def test_what_a_killed_process_spent(self) -> None:
        """Of ten cents, a killed process had spent one and a half, and three were held: five requests still pass."""
        self.killed()
        service = LogService(reactor, self.root, SMALL, QUICK)
        service.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(service.close()))
        process = Process()
        # It comes before anything is known, and waits.
        first = process.reserve.take(CENT)
        assert isinstance(first, Deferred)
        service.ship_to(self.database, ensure_partitions)
        load = partial(load_ledger, self.database, service.spool_id)
        rebuild = Rebuild(process.counters, service.older_spools_shipped, load, reactor)
        rebuild.start()
        self.addCleanup(rebuild.stop)
        self.assertNoResult(first)
        self.database.start()
        self.assertIsInstance(await first, Hold)
        self.assertEqual(process.let_through(), 4)

    async def test_its_own_spending_counts_once(self) -> None:
        """What this process has shipped itself is in its memory already, and not added again."""
        self.database.start()
        await self.database.reached()
        service = LogService(reactor, self.root, SMALL, QUICK)
        service.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(service.close()))
        service.ship_to(self.database, ensure_partitions)
        process = Process()
        process.counters.rebuilt()
        hold = process.reserve.take(CENT)
        assert isinstance(hold, Hold)
        begin = self.records.begin()
        service.sink.begin(Begin(begin.origin, begin.target, hold.charged), lambda: None)
        written: Deferred[None] = Deferred()
        charged = hold.settle(None, 10_000_000)
        service.sink.end(self.records.end(begin, charged=charged), lambda: written.callback(None))
        await written
        await service.shipped()
        self.assertEqual(await load_ledger(self.database, service.spool_id), [])
        (elsewhere,) = await load_ledger(self.database, bytes(16))
        self.assertEqual(
            (elsewhere.key, elsewhere.slot, elsewhere.delta), (charged[0].key, charged[0].slot, 10_000_000)
        )
