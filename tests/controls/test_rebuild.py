"""What was spent is known again after a start."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.hold import Hold
from aigw.controls.rebuild import DEFECT_RETRY_S, RETRY_S, Rebuild
from aigw.errors import SpendLimitExceeded, StorageUnavailable
from aigw.state.memory_counters import MemoryCounters
from aigw.values.counting import Correction
from tests.controls.visits import Desk, budget, budgeted, fixed_price, visit

STEP = visit(budgeted(budget(0.05)), price=fixed_price(0.01))


class Ledger:
    """
    Answers with sums, after as many failures as it is given.

    Attributes:
        failures: Raised one after the other.
        asked: How often it was asked.
    """

    def __init__(self, sums: list[Correction], *failures: Exception) -> None:
        self._sums = sums
        self.failures = list(failures)
        self.asked = 0

    async def load(self) -> list[Correction]:
        """See `Rebuild`."""
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return self._sums


class RebuildTests(SynchronousTestCase):
    def setUp(self) -> None:
        time = Desk()
        self.memory = MemoryCounters(time.clock, time.utc_ms, rebuilt_prefix="spend:")
        self.desk = Desk(self.memory)
        self.clock = Clock()
        before = Desk()
        (charged,) = before.take(STEP).charged
        self.spent = [Correction(charged.key, charged.slot, 40_000_000, charged.expires_ms)]

    def rebuild(self, ledger: Ledger, shipped: Deferred[None] | None = None) -> Rebuild:
        rebuild = Rebuild(self.memory, lambda: succeed(None) if shipped is None else shipped, ledger.load, self.clock)
        rebuild.start()
        return rebuild

    def test_budgets_go_on(self) -> None:
        """After a restart a budget of five cents, of which four were spent, has one left."""
        waiting = self.desk.reserve.take(STEP)
        assert isinstance(waiting, Deferred)
        rebuild = self.rebuild(Ledger(self.spent))
        self.assertTrue(rebuild.done)
        self.assertIsInstance(self.successResultOf(waiting), Hold)
        self.assertRaises(SpendLimitExceeded, self.desk.take, STEP)

    def test_older_logs_come_first(self) -> None:
        """What a killed process had in its spool is in the ledger before the ledger is read."""
        shipped: Deferred[None] = Deferred()
        ledger = Ledger(self.spent)
        rebuild = self.rebuild(ledger, shipped)
        self.assertEqual((ledger.asked, rebuild.done, self.memory.available), (0, False, False))
        shipped.callback(None)
        self.assertEqual((ledger.asked, rebuild.done, self.memory.available), (1, True, True))

    def test_the_database_comes_later(self) -> None:
        """A database that is away at the start is asked again until it answers."""
        ledger = Ledger(self.spent, *[StorageUnavailable("away")] * 3)
        rebuild = self.rebuild(ledger)
        for asked in range(1, 4):
            self.assertEqual((ledger.asked, rebuild.done), (asked, False))
            self.clock.advance(RETRY_S)
        self.assertTrue(rebuild.done)

    def test_a_defect_is_seen(self) -> None:
        """What is no outage is logged, and tried again more slowly."""
        ledger = Ledger(self.spent, ZeroDivisionError())
        rebuild = self.rebuild(ledger)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(DEFECT_RETRY_S)
        self.assertTrue(rebuild.done)

    def test_stop(self) -> None:
        """A process that stops while it waits leaves nothing behind."""
        rebuild = self.rebuild(Ledger(self.spent, StorageUnavailable("away")))
        rebuild.stop()
        self.assertEqual((self.clock.getDelayedCalls(), rebuild.done), ([], False))
        shipped: Deferred[None] = Deferred()
        rebuild = self.rebuild(Ledger(self.spent), shipped)
        rebuild.stop()
        rebuild.stop()
        self.assertFalse(rebuild.done)

    def test_nothing_was_spent(self) -> None:
        """A first start answers at once."""
        self.rebuild(Ledger([]))
        self.assertIsInstance(self.desk.take(STEP), Hold)
