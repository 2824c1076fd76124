"""Tests of aigw.logs.shipper, with batch, source, names, window and quarantine, against a real PostgreSQL."""

from __future__ import annotations

import os
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from aigw.logs.frame import FRAME_BYTES
from aigw.logs.recovery import adopt_dead
from aigw.logs.settings import ShipperSettings
from aigw.logs.source import Source
from aigw.logs.volume import Volume
from aigw.values.usage import Usage
from tests.logs.records import Records
from tests.logs.shipping import ShippingCase

DAY_MS = 86_400_000


class ShipTests(ShippingCase):
    """The usual way."""

    async def test_every_exchange_is_one_row(self) -> None:
        """What went through the gateway is in PostgreSQL, in the order of its ids, with bodies."""
        logged = [self.log(response_body=b"answer %d" % index) for index in range(100)]
        await self.shipped()
        self.assertEqual(await self.ids(), sorted(logged))
        self.assertEqual(await self.count("log_bodies", "count(response)"), 100)
        self.assertEqual(await self.count("live_rows", "sum(count)"), 100)
        self.assertEqual(self.stats.shipped, 100)

    async def test_usage_is_added_up(self) -> None:
        """The rollups tell what was used, and an unknown price is not a price of 0."""
        self.log(usage=Usage(100, 20, 60, 5), cost_nanousd=1_500, duration_ms=30)
        self.log(usage=Usage(1, 2), cost_nanousd=None, duration_ms=4, success=False)
        self.log(cached=True, cost_nanousd=0)
        await self.shipped()
        sums = "requests, errors, cached, unpriced, tokens_in, tokens_out, cache_read, cache_write, cost_nanousd"
        rows = await self.real.query(f"SELECT {sums}, duration_ms FROM usage_rollups")
        self.assertEqual(rows, [(3, 1, 1, 1, 101, 22, 60, 5, 1_500, 34)])

    async def test_a_log_that_was_switched_off_is_only_counted(self) -> None:
        """`cf-aig-collect-log: false` leaves no row, and last month's cost is right all the same."""
        self.log(origin={"collect": False}, cost_nanousd=7, request_body=b"private")
        self.log(origin={"collect_payload": False}, cost_nanousd=8, request_body=b"private")
        await self.shipped()
        self.assertEqual(await self.count("logs"), 1)
        self.assertEqual(await self.count("log_bodies", "count(request)"), 0)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 15)

    async def test_shipped_segments_are_deleted(self) -> None:
        """The spool does not grow while the database takes what it is given."""
        for _ in range(30):
            self.log(response_body=os.urandom(9000))
            await deferLater(reactor, 0)
        await self.shipped()
        self.assertEqual(len(self.directory.numbers()), 1)
        self.assertEqual(self.quota.used_bytes, self.directory.bytes_used())
        self.assertEqual((await self.count("logs"), self.shipper.backlog_bytes()), (30, 0))

    async def test_odd_records_are_stored(self) -> None:
        """NUL, surrogates, bad metadata and absurd numbers cost a character or a digit, not the row."""
        self.log(origin={"event_id": "a\0b", "metadata": b'{"k": "\\u0000", "n": 1e400}'})
        self.log(origin={"event_id": "\ud800", "metadata": b'{"k": "x\\u0000", "n": 99999999999999999999}'})
        self.log(error="\0", response_model="m\0", usage=Usage(2**40, -5), status=10**6, cost_nanousd=2**70)
        await self.shipped()
        rows = await self.real.query("SELECT event_id, metadata, status FROM logs ORDER BY id")
        self.assertEqual(rows[0], ("a\ufffdb", None, 200))
        self.assertEqual(rows[1], ("?", {"k": "x\ufffd", "n": 1e20}, 200))
        self.assertEqual(rows[2], (None, None, 32767))
        self.assertEqual(self.stats.quarantined, 0)

    async def test_a_clean_stop_leaves_nothing_behind(self) -> None:
        """After a stop with the database in reach, all is shipped and the folder is gone."""
        self.log()
        await self.close()
        self.assertEqual(await self.count("logs"), 1)
        self.assertFalse(self.directory.path.exists())

    async def test_a_stop_keeps_its_deadline(self) -> None:
        """A stop without a database takes no longer than allowed, and what was logged waits on disk."""
        self.database.down = True
        logged = self.log()
        await self.close(flush_s=0.05)
        self.assertTrue(self.directory.path.exists())
        self.database.down = False
        self.open()
        for directory in adopt_dead(self.root, Volume(), self.quota, self.stats):
            self.shipper.add(Source(directory))
        await self.shipped()
        self.assertEqual(await self.ids(), [logged])


class FailureTests(ShippingCase):
    """Databases that go away, or answer oddly."""

    async def test_a_lost_acknowledgement_is_not_repeated(self) -> None:
        """When COMMIT succeeds and its answer is lost, nothing is doubled, not even what only the rollups count."""
        self.log(cost_nanousd=10)
        await self.shipped()
        for _ in range(3):
            self.log(cost_nanousd=10)
            self.log(origin={"collect": False}, cost_nanousd=100)
            self.database.lose_answers = 1
            await self.shipped()
            self.assertEqual(self.database.lose_answers, 0)
        self.assertEqual(await self.count("logs"), 4)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 340)
        self.assertEqual(await self.count("live_rows", "sum(count)"), 4)

    async def test_a_transaction_that_commits_late(self) -> None:
        """A batch that was given up and tried again, and then commits after all, is stored and counted once."""
        self.log(origin={"collect": False}, cost_nanousd=1)
        await self.shipped()
        self.log(cost_nanousd=10)
        self.log(origin={"collect": False}, cost_nanousd=100)
        self.database.repeat = True
        await self.shipped()
        self.assertFalse(self.database.repeat)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 111)
        self.log(cost_nanousd=1000)
        await self.shipped()
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 1111)

    async def test_logs_wait_for_the_database(self) -> None:
        """Hours without a database lose nothing, and shipping goes on by itself."""
        self.database.down = True
        logged = [self.log() for _ in range(10)]
        await deferLater(reactor, 0.05)
        self.assertGreater(self.stats.ship_failures, 0)
        self.assertEqual(await self.count("logs"), 0)
        self.assertGreater(self.shipper.backlog_bytes(), 10 * FRAME_BYTES)
        self.database.come_back()
        await self.shipped()
        self.assertEqual(await self.ids(), logged)
        self.assertEqual(self.shipper.backlog_bytes(), 0)

    async def test_replay_does_not_bring_back_what_was_deleted(self) -> None:
        """A log that its owner erased stays erased when the spool is read again, and its cost is counted once."""
        self.log(cost_nanousd=5)
        await self.shipped()
        await self.real.query("DELETE FROM logs")
        self.database.down = True
        await self.close(flush_s=0.01)
        self.database.down = False
        self.open()
        for directory in adopt_dead(self.root, Volume(), self.quota, self.stats):
            self.shipper.add(Source(directory))
        await self.shipped()
        # What was open when it stopped is a row of its own.
        self.assertEqual(await self.count("logs WHERE error_code = 0"), 0)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 5)

    async def test_a_missing_table_puts_nothing_aside(self) -> None:
        """What the operator broke is not the records' fault: they wait until it is mended."""
        await self.real.query("ALTER TABLE logs RENAME TO hidden")
        logged = self.log()
        await deferLater(reactor, 0.05)
        self.assertEqual(self.stats.quarantined, 0)
        await self.real.query("ALTER TABLE hidden RENAME TO logs")
        await self.shipped()
        self.assertEqual(await self.ids(), [logged])


class QuarantineTests(ShippingCase):
    """Records that the database refuses."""

    async def refuse_poison(self) -> None:
        """Have the database refuse one event id, once the partitions of today are there."""
        self.first = self.log()
        await self.shipped()
        await self.real.query("ALTER TABLE logs ADD CONSTRAINT poison CHECK (event_id <> 'poison')")

    async def test_one_poisoned_record_costs_no_other(self) -> None:
        """The culprit is put aside with its reason; every other row goes in, and the gateway says so."""
        await self.refuse_poison()
        logged = [self.log() for _ in range(20)]
        self.log(origin={"event_id": "poison"})
        logged += [self.log() for _ in range(20)]
        await self.shipped()
        self.assertEqual(await self.ids(), [self.first, *logged])
        self.assertEqual((self.stats.quarantined, self.stats.quarantine_records), (1, 1))
        (waiting,) = [each for number in self.quarantine.files() for each in self.quarantine.read(number)]
        self.assertIn("poison", waiting.refused.reason)
        self.assertEqual(waiting.entry.record.origin.event_id, "poison")

    async def test_it_is_put_aside_once(self) -> None:
        """A database that fails at the wrong moment does not multiply what is in quarantine."""
        await self.refuse_poison()
        self.log(origin={"event_id": "poison"})
        self.database.lose_answers = 2
        await self.shipped()
        self.assertEqual(self.stats.quarantine_records, 1)

    async def test_the_quarantine_is_tried_again(self) -> None:
        """When the reason is gone, the next start stores what was put aside, once."""
        await self.refuse_poison()
        poisoned = self.log(origin={"event_id": "poison"}, cost_nanousd=3)
        await self.shipped()
        await self.close()
        self.assertTrue(self.directory.path.exists(), "the quarantine was deleted with its spool")
        await self.real.query("ALTER TABLE logs DROP CONSTRAINT poison")
        self.open()
        for directory in adopt_dead(self.root, Volume(), self.quota, self.stats):
            self.shipper.add(Source(directory))
        while self.stats.quarantine_records or not self.stats.released:
            await deferLater(reactor, 0.01)
        self.assertIn(poisoned, await self.ids())
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 3)
        self.assertTrue(self.quarantine.empty)

    async def test_an_id_far_from_now_waits(self) -> None:
        """A log of a wrong clock is kept aside instead of failing its batch or calling up a partition."""
        right = self.log()
        for off_ms in (-500 * DAY_MS, 3 * DAY_MS):
            wrong = Records(time.time_ns() // 1_000_000 + off_ms)
            self.spool.end(self.records.end(wrong.begin()), lambda: None)
        await self.shipped()
        self.assertEqual(await self.ids(), [right])
        self.assertEqual(self.stats.quarantine_records, 2)

    async def test_an_old_log_gets_its_partition(self) -> None:
        """A spool that waited for months is stored in the months it belongs to."""
        self.spool.end(self.records.end(Records(time.time_ns() // 1_000_000 - 100 * DAY_MS).begin()), lambda: None)
        await self.shipped()
        self.assertEqual(await self.count("logs"), 1)

    async def test_damage_in_the_spool_is_kept_and_told(self) -> None:
        """A bad sector costs the records it hit; the bytes are kept, the rest is shipped."""
        self.database.down = True
        self.log()
        hit = self.log(request_body=b"x" * 3000)
        rest = self.log()
        await deferLater(reactor, 0.03)
        path = self.directory.segment(1)
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(data.index(b"x" * 3000) + 1000)
            file.write(b"bad")
        self.database.come_back()
        await self.shipped()
        ids = await self.ids()
        self.assertNotIn(hit, ids)
        self.assertIn(rest, ids)
        self.assertGreater(self.stats.corrupt_bytes, 3000)


class BurstTests(ShippingCase):
    """Many at once."""

    settings = ShipperSettings(ship_every_s=0.01, batch_rows=50, batch_bytes=50_000)

    async def test_catching_up(self) -> None:
        """Thousands of waiting rows go in batch after batch, without pauses between them."""
        self.database.down = True
        for _ in range(20):
            for _ in range(20):
                self.log(response_body=os.urandom(500))
            await deferLater(reactor, 0)
        self.database.come_back()
        before = self.database.transactions
        await self.shipped()
        self.assertEqual(await self.count("logs"), 400)
        self.assertLess(self.database.transactions - before, 30)

    async def test_two_processes_agree_on_names(self) -> None:
        """Two gateways that meet the same new names at once both ship."""
        other = ShippingCase()
        other.real, other.database, other.records = self.real, self.database, Records(time.time_ns() // 1_000_000)
        other.root = self.root
        other.open()
        for index in range(30):
            for case in (self, other):
                case.log(response_model=f"model-{index % 7}")
        await self.shipped()
        await other.shipped()
        await other.close()
        self.assertEqual(await self.count("logs"), 60)
        self.assertEqual(await self.count("names WHERE name LIKE 'model-%%'"), 7)


class PauseTests(ShippingCase):
    """How long a record waits."""

    settings = ShipperSettings(ship_every_s=0.01)

    async def test_an_idle_shipper_hears_of_the_next_record(self) -> None:
        """After a quiet time, the next log is visible within moments, not with the next hour's look."""
        await self.shipped()
        await deferLater(reactor, 0.05)
        done: Deferred[None] = Deferred()
        self.spool.end(self.records.end(), lambda: done.callback(None))
        await done
        while not self.stats.shipped:
            await deferLater(reactor, 0.005)
        self.assertEqual(await self.count("logs"), 1)

    async def test_a_record_that_comes_during_a_transaction(self) -> None:
        """A log that is written while another is being stored follows at once, not with the next hour's look."""
        self.log()
        await self.shipped()
        both: Deferred[None] = Deferred()

        def another() -> None:
            self.spool.end(self.records.end(), lambda: both.callback(None))
            self.spool.flush_now()

        self.database.during = another
        self.spool.end(self.records.end(), lambda: None)
        await both
        while self.stats.shipped < 3:
            await deferLater(reactor, 0.005)
        self.assertEqual(await self.count("logs"), 3)
