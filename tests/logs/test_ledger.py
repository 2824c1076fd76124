"""Tests of aigw.logs.ledger: what spend counters were charged, by the word of the logs."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.internet.task import deferLater

from aigw.logs.frame import encoder
from aigw.logs.ledger import KEY_BYTES, LOAD_ROWS, SWEEP_ROWS, load_ledger, sweep_ledger
from aigw.logs.position import Position
from aigw.logs.quarantine import Quarantine
from aigw.logs.recovery import adopt_dead
from aigw.logs.source import Entry, Source
from aigw.logs.volume import Volume
from aigw.values.counting import Charged, Correction
from tests.logs.records import SpoolCase
from tests.logs.shipping import ShippingCase

NOBODY = bytes(16)
LATER_MS = (time.time_ns() // 1_000_000 // 1000 + 86_400) * 1000
ROWS = "SELECT key, slot, amount, spool::text FROM spend_ledger ORDER BY key, slot, spool"
FILL = """
    INSERT INTO spend_ledger SELECT 'k' || n % 7, n, gen_random_uuid(), 1, now() + %s::interval
      FROM generate_series(1, %s) AS n
"""


def spent(amount: int, key: str = "spend:a", slot: int = 1) -> tuple[Charged, ...]:
    """What one counter was charged."""
    return (Charged(key, slot, LATER_MS, amount),)


class LedgerCase(ShippingCase):
    """A ledger to look into."""

    async def spend(self) -> dict[tuple[str, int], int]:
        """Sums by key and slot, as a process that has just been started gets them."""
        return {(each.key, each.slot): each.delta for each in await load_ledger(self.real, NOBODY)}

    def adopt(self) -> None:
        """Ship what dead processes have left, as a start does."""
        for directory in adopt_dead(self.root, Volume(), self.quota, self.stats):
            self.shipper.add(Source(directory))


class AddingTests(LedgerCase):
    """What gets into the ledger."""

    async def test_charges_are_added_up(self) -> None:
        """Each counter's slot holds what its exchanges cost, over batches; what cost nothing leaves no row."""
        self.log(charged=spent(5) + spent(7, slot=2) + spent(0, "spend:free"))
        self.log(charged=spent(10))
        await self.shipped()
        self.log(charged=spent(100) + spent(9, "spend:b"))
        await self.shipped()
        self.assertEqual(await self.spend(), {("spend:a", 1): 115, ("spend:a", 2): 7, ("spend:b", 1): 9})
        self.assertEqual(await self.count("spend_ledger"), 3)

    async def test_a_log_that_was_switched_off_costs_as_much(self) -> None:
        """`cf-aig-collect-log: false` is no way around a budget."""
        self.log(origin={"collect": False}, charged=spent(3))
        await self.shipped()
        self.assertEqual(await self.count("logs WHERE error_code = 0"), 0)
        self.assertEqual(await self.spend(), {("spend:a", 1): 3})

    async def test_a_lost_acknowledgement_is_not_repeated(self) -> None:
        """When COMMIT succeeds and its answer is lost, no budget is charged twice."""
        for _ in range(3):
            self.log(charged=spent(1))
            self.log(origin={"collect": False}, charged=spent(10))
            self.database.lose_answers = 1
            await self.shipped()
        self.assertEqual(await self.spend(), {("spend:a", 1): 33})

    async def test_a_transaction_that_commits_late(self) -> None:
        """A batch that was given up and tried again, and then commits after all, charges once."""
        self.log(charged=spent(1))
        await self.shipped()
        self.log(charged=spent(10))
        self.log(origin={"collect": False}, charged=spent(100))
        self.database.repeat = True
        await self.shipped()
        self.assertFalse(self.database.repeat)
        self.assertEqual(await self.spend(), {("spend:a", 1): 111})

    async def test_deleting_logs_gives_no_money_back(self) -> None:
        """What was spent stays spent when its logs are erased, also when the spool is read again."""
        self.log(charged=spent(5))
        await self.shipped()
        await self.real.query("DELETE FROM logs")
        self.database.down = True
        await self.close(flush_s=0.01)
        self.database.down = False
        self.open()
        self.adopt()
        await self.shipped()
        self.assertEqual(await self.spend(), {("spend:a", 1): 5})

    async def test_a_record_that_comes_twice(self) -> None:
        """A log that is there already, or twice in a batch, charges once, whatever new ones come with it."""
        first = self.records.end(charged=spent(1))
        self.spool.end(first, lambda: None)
        await self.shipped()
        second = self.records.end(charged=spent(10))
        for end in (first, second, second):
            self.spool.end(end, lambda: None)
        await self.shipped()
        self.assertEqual(await self.count("logs WHERE error_code = 0"), 2)
        self.assertEqual(await self.spend(), {("spend:a", 1): 11})

    async def test_an_exchange_whose_process_was_killed(self) -> None:
        """After kill -9, what was reserved for a running exchange counts as spent, once, under the dead one's name."""
        dead = SpoolCase(self.root)
        running = self.records.begin()
        dead.spool.begin(type(running)(running.origin, running.target, spent(40)), lambda: None)
        done = self.records.begin()
        dead.spool.begin(type(done)(done.origin, done.target, spent(500)), lambda: None)
        dead.spool.end(self.records.end(done, charged=spent(2)), lambda: None)
        dead.turn()
        dead.directory.release()
        self.adopt()
        await self.shipped()
        self.assertEqual(await self.spend(), {("spend:a", 1): 42})
        self.assertEqual(await load_ledger(self.real, dead.directory.spool_id), [])
        self.assertEqual(await self.count("logs"), 2)

    async def test_records_out_of_the_quarantine(self) -> None:
        """What waited in quarantine is charged when it leaves it, still under the name of the spool it came from."""
        self.log()
        await self.shipped()
        await self.real.query("ALTER TABLE logs ADD CONSTRAINT poison CHECK (event_id <> 'poison')")
        dead = SpoolCase(self.root)
        aside = Quarantine(dead.directory.refused, dead.directory.spool_id, Volume(), dead.quota, dead.stats)
        ends = [self.records.end(self.records.begin(event_id=text), charged=spent(4)) for text in ("good", "poison")]
        aside.put([Entry(end, memoryview(encoder.encode(end)), Position(1, 0)) for end in ends], "both were refused")
        dead.directory.release()
        for amount in (4, 8):
            await self.close()
            self.open()
            self.adopt()
            while not self.stats.released:
                await deferLater(reactor, 0.01)
            rows = await self.real.query(ROWS)
            self.assertEqual(
                [(each[2], each[3].replace("-", "")) for each in rows], [(amount, dead.directory.spool_id.hex())]
            )
            await self.real.query("ALTER TABLE logs DROP CONSTRAINT IF EXISTS poison")

    async def test_odd_charges_cost_no_log(self) -> None:
        """A key that no index can hold, and numbers beyond all bounds, stop neither the batch nor the other charges."""
        odd = [Charged("spend:" + "\u20ac" * KEY_BYTES, 1, LATER_MS, 1), Charged("spend:\0", 1, LATER_MS, 1)]
        odd += [Charged("spend:top", 1, 2**63 - 1, 2**63 - 1), Charged("spend:top", 1, LATER_MS, 2**63 - 1)]
        logged = self.log(charged=(*odd, *spent(1)))
        await self.shipped()
        self.assertIn(logged, await self.ids())
        self.assertEqual(self.stats.quarantined, 0)
        self.assertEqual(await self.spend(), {("spend:a", 1): 1, ("spend:top", 1): 2**63 - 1})


class LoadingTests(LedgerCase):
    """What counters are built from."""

    async def fill(self, until: str, rows: int) -> None:
        """Rows of as many spools, over seven keys."""
        await self.real.query(FILL.replace("% 7", "%% 7"), (until, rows))

    async def test_the_own_spool_is_left_out(self) -> None:
        """What this process has counted itself is not counted again; every other spool's word is."""
        self.log(charged=spent(5))
        await self.shipped()
        own = self.directory.spool_id
        self.assertEqual(await load_ledger(self.real, own), [])
        await self.close()
        self.open()
        self.log(charged=spent(6))
        await self.shipped()
        self.assertEqual(
            [await load_ledger(self.real, self.directory.spool_id), await load_ledger(self.real, own.hex())],
            [[Correction("spend:a", 1, 5, LATER_MS)], [Correction("spend:a", 1, 6, LATER_MS)]],
        )

    async def test_what_has_expired_is_not_loaded(self) -> None:
        """Last week's spending does not count against this week's budget."""
        await self.fill("-1 second", 3)
        await self.fill("1 hour", 2)
        self.assertEqual(len(await self.spend()), 2)

    async def test_more_than_one_page(self) -> None:
        """However many counters there are, each is loaded once and whole."""
        await self.fill("1 hour", LOAD_ROWS + 10)
        await self.fill("1 hour", LOAD_ROWS + 10)
        loaded = await load_ledger(self.real, NOBODY)
        self.assertEqual(len({(each.key, each.slot) for each in loaded}), LOAD_ROWS + 10)
        self.assertEqual({each.delta for each in loaded}, {2})
        self.assertEqual(len(loaded), LOAD_ROWS + 10)

    async def test_what_has_expired_is_deleted(self) -> None:
        """The ledger does not grow for ever; what still counts stays, and no statement deletes more than a little."""
        # Its shipper would sweep beside us.
        await self.close()
        await self.fill("-2 hours", SWEEP_ROWS + 5)
        await self.fill("-1 minute", 3)
        more = [await sweep_ledger(self.real), await sweep_ledger(self.real)]
        self.assertEqual((more, await self.count("spend_ledger")), ([True, False], 3))
        self.open()

    async def test_the_shipper_deletes_what_has_expired(self) -> None:
        """Nobody has to think of it: a gateway that starts, or ships, clears the ledger."""
        await self.fill("-2 hours", 5)
        await self.close()
        self.open()
        self.log()
        while await self.count("spend_ledger"):
            await deferLater(reactor, 0.01)
