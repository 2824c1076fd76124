"""Tests of aigw.logs.recovery and aigw.logs.directory: what the next start finds after kill -9."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import Interrupted
from aigw.logs.directory import SpoolDirectory, spool_name
from aigw.logs.quota import Quota
from aigw.logs.recovery import adopt, adopt_dead, bring
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.testing.logs import FullDisk
from aigw.values.record import Begin, End
from tests.logs.records import Records, SpoolCase, records_in


class Case(SynchronousTestCase):
    """A spool, and the death of its process."""

    def setUp(self) -> None:
        """Make a spool."""
        self.root = Path(self.mktemp())
        self.records = Records()
        self.case = SpoolCase(self.root)
        self.stats = LogStats()

    def begin(self) -> Begin:
        """Begin an exchange."""
        begin = self.records.begin()
        self.case.spool.begin(begin, lambda: None)
        self.case.turn()
        return begin

    def die(self) -> None:
        """Let go of the lock and nothing else, as kill -9 does."""
        self.case.directory.release()

    def recover(self, volume: Volume | None = None) -> list[SpoolDirectory]:
        """Start the next process."""
        quota = Quota(1 << 30, self.stats)
        adopted = adopt_dead(self.root, volume or Volume(), quota, self.stats)
        self.assertEqual(quota.used_bytes, sum(directory.bytes_used() for directory in adopted))
        return adopted

    def ends(self) -> dict[bytes, End]:
        """Every stored end, by id; none twice."""
        found = [record for record in self.case.stored() if isinstance(record, End)]
        self.assertEqual(len(found), len({end.origin.id for end in found}))
        return {end.origin.id: end for end in found}


class RecoveryTests(Case):
    """Exchanges that were running when the process died."""

    def test_each_open_exchange_becomes_one_interrupted_end(self) -> None:
        """What a provider may have seen leaves a row; what had ended keeps the end it had."""
        running = [self.begin(), self.begin()]
        done = self.begin()
        self.case.spool.end(self.records.end(done), lambda: None)
        self.case.turn()
        self.die()
        (adopted,) = self.recover()
        self.assertEqual(adopted.path, self.case.directory.path)
        ends = self.ends()
        self.assertEqual(set(ends), {begin.origin.id for begin in (*running, done)})
        self.assertEqual(ends[done.origin.id].error_code, 0)
        for begin in running:
            end = ends[begin.origin.id]
            self.assertEqual((end.origin, end.target), (begin.origin, begin.target))
            self.assertEqual((end.error_code, end.status, end.success), (Interrupted.code, Interrupted.status, False))
        self.assertEqual(self.stats.interrupted, 2)

    def test_a_second_recovery_adds_none(self) -> None:
        """A process that dies while it recovers another leaves no exchange with two ends."""
        self.begin()
        self.die()
        for directory in self.recover():
            directory.release()
        before = self.ends()
        self.recover()
        self.assertEqual((self.ends(), self.stats.interrupted), (before, 1))

    def test_a_living_process_keeps_its_spool(self) -> None:
        """Several workers share a folder without touching each other's files."""
        self.begin()
        self.assertEqual(self.recover(), [])
        self.assertEqual(self.ends(), {})

    def test_a_torn_record_is_cut_off(self) -> None:
        """Half a record at the end hides neither what is before nor what recovery adds."""
        begin = self.begin()
        _, written = self.case.spool.written_to()
        path = self.case.directory.segment(1)
        with path.open("r+b") as file:
            file.seek(written)
            file.write(b"\xa6\x47 half a frame")
        self.die()
        self.recover()
        self.assertEqual(set(self.ends()), {begin.origin.id})
        self.assertEqual(self.stats.torn_bytes, 15)
        self.assertLess(path.stat().st_size, 65_536, "the room kept for others was not given back")

    def test_every_cut_of_the_last_write(self) -> None:
        """Wherever the last write was cut, each begun exchange has exactly one end afterwards."""
        first = self.begin()
        _, start = self.case.spool.written_to()
        second = self.begin()
        self.case.spool.end(self.records.end(first, response_body=b"x" * 50), lambda: None)
        self.case.turn()
        _, end = self.case.spool.written_to()
        self.die()
        kept = self.case.directory.segment(1).read_bytes()
        for cut in range(start, end + 1):
            self.case.directory.segment(1).write_bytes(kept[:cut] + bytes(len(kept) - cut))
            for directory in self.recover():
                directory.release()
            self.assertIn(first.origin.id, self.ends())
            self.assertLessEqual(set(self.ends()), {first.origin.id, second.origin.id})
        self.assertEqual(set(self.ends()), {first.origin.id, second.origin.id})

    def test_death_while_a_new_segment_was_begun(self) -> None:
        """Exchanges are not lost when the process died between two segments, wherever the first write was cut."""
        running = [self.begin() for _ in range(3)]
        self.case.spool.end(self.records.end(response_body=os.urandom(70_000)), lambda: None)
        self.case.turn()
        self.assertEqual(self.case.directory.numbers(), [1, 2])
        path = self.case.directory.segment(2)
        self.die()
        kept = path.read_bytes()
        first = self.case.directory.segment(1).read_bytes()
        for cut in (0, 10, 40, 100, 200, 400, 600, 800, 1500):
            self.case.directory.segment(1).write_bytes(first)
            path.write_bytes(kept[:cut] + bytes(len(kept) - cut))
            for directory in self.recover():
                directory.release()
            self.assertEqual(set(self.ends()), {begin.origin.id for begin in running}, f"cut at {cut}")

    def test_only_the_last_segment_is_read(self) -> None:
        """A start is quick however much waits for the database: finished segments are not even opened."""
        running = self.begin()
        while self.case.directory.numbers()[-1] < 3:
            self.case.spool.end(self.records.end(response_body=os.urandom(8000)), lambda: None)
            self.case.turn()
        self.die()
        self.case.directory.segment(1).write_bytes(b"not even a header")
        self.recover()
        last = records_in(self.case.directory.segment(3))
        self.assertEqual([r.origin.id for r in last if isinstance(r, End) and r.error_code], [running.origin.id])

    def test_recovery_on_a_full_disk(self) -> None:
        """The room that an exchange was promised is still there after its process died."""
        running = self.begin()
        self.die()
        self.recover(FullDisk(0))
        self.assertEqual(set(self.ends()), {running.origin.id})

    def test_a_disk_that_refuses_is_left_for_the_next_start(self) -> None:
        """The gateway starts, and the spool waits untouched for better times."""
        running = self.begin()
        self.die()
        disk = FullDisk()
        disk.broken = True
        self.assertEqual(self.recover(disk), [])
        self.assertEqual(self.stats.write_failures, 1)
        self.recover()
        self.assertEqual(set(self.ends()), {running.origin.id})


class DirectoryTests(Case):
    """Folders and locks."""

    def test_strangers_are_left_alone(self) -> None:
        """Nothing but a spool is taken for one."""
        self.die()
        shutil.rmtree(self.root)
        for name in ("notes", str(uuid.uuid4()).upper() + "x", f".unfinished-{uuid.uuid4()}"):
            (self.root / name).mkdir(parents=True)
        self.assertEqual(self.recover(), [])
        self.assertIsNone(spool_name("{" + str(uuid.uuid4())[:-2] + "}"))

    def test_claim_is_exclusive(self) -> None:
        """Two processes that start together do not ship the same spool."""
        self.assertIsNone(SpoolDirectory.claim(self.case.directory.path))
        self.die()
        claimed = SpoolDirectory.claim(self.case.directory.path)
        assert claimed is not None
        self.assertIsNone(SpoolDirectory.claim(self.case.directory.path))
        claimed.remove_all()
        self.assertFalse(self.case.directory.path.exists())
        self.assertIsNone(SpoolDirectory.claim(self.case.directory.path))

    def test_files_are_private(self) -> None:
        """No other user of the machine reads prompts out of the spool."""
        path = self.case.directory.path
        self.assertEqual([p.stat().st_mode & 0o077 for p in (path, self.case.directory.segment(1))], [0, 0])

    def test_bring_copies_from_another_disk(self) -> None:
        """A spool from a disk of another machine is shipped here, and its original is not touched."""
        running = self.begin()
        self.die()
        original = self.case.directory.segment(1).read_bytes()
        here = Path(self.mktemp())
        here.mkdir()
        brought = bring(self.case.directory.path, here)
        assert brought is not None
        adopt(brought, Volume(), self.stats)
        self.assertEqual(brought.spool_id, self.case.directory.spool_id)
        self.assertEqual(
            [r.origin.id for r in records_in(brought.segment(1)) if isinstance(r, End)], [running.origin.id]
        )
        self.assertEqual(self.case.directory.segment(1).read_bytes(), original)
