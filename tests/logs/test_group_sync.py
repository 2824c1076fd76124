"""Tests of aigw.logs.group_sync, through the spool that uses it."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.logs.group_sync import OwnThread
from aigw.testing.logs import FullDisk, SteppedThread
from aigw.values.record import End
from tests.logs.records import Records, SpoolCase


class PowerTests(SynchronousTestCase):
    """`durability = "power"`: final frames wait for the disk itself."""

    def setUp(self) -> None:
        """Make a spool whose sync thread the test steps."""
        self.thread = SteppedThread()
        self.disk = FullDisk()
        self.case = SpoolCase(Path(self.mktemp()), volume=self.disk, thread=self.thread)
        self.records = Records()
        self.safe: list[str] = []
        while self.thread.waiting:
            self.thread.step()

    def exchange(self, name: str, **fields: object) -> None:
        """Begin and end one exchange, and let the turn pass."""
        begin = self.records.begin()
        self.case.spool.begin(begin, lambda: self.safe.append(f"begin {name}"))
        self.case.spool.end(self.records.end(begin, **fields), lambda: self.safe.append(f"end {name}"))
        self.case.turn()

    def test_only_the_end_waits(self) -> None:
        """The provider is asked as soon as the beginning is written; the final frame waits for the sync."""
        self.exchange("a")
        self.assertEqual(self.safe, ["begin a"])
        self.thread.step()
        self.assertEqual(self.safe, ["begin a", "end a"])

    def test_the_next_group_gathers_while_one_is_synced(self) -> None:
        """Many final frames share one sync, and none is released by a sync that began before its write."""
        self.exchange("a")
        self.exchange("b")
        self.exchange("c")
        self.assertEqual(self.thread.waiting, 1)
        self.thread.step()
        self.assertEqual([name for name in self.safe if "end" in name], ["end a"])
        self.assertEqual(self.thread.waiting, 1)
        self.thread.step()
        self.assertEqual([name for name in self.safe if "end" in name], ["end a", "end b", "end c"])

    def test_a_failed_sync_is_not_believed(self) -> None:
        """After a failed sync the bytes are written again before the next one, and no final frame leaves before."""
        self.exchange("a")
        self.disk.sync_broken = True
        self.thread.step()
        self.assertNotIn("end a", self.safe)
        self.assertFalse(self.case.spool.accepting)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.disk.sync_broken = False
        writes = self.disk.writes
        self.case.clock.advance(1)
        self.thread.step()
        self.assertGreater(self.disk.writes, writes)
        self.assertEqual(self.safe[-1], "end a")
        self.assertTrue(self.case.spool.accepting)

    def test_a_finished_segment_is_synced_before_it_is_closed(self) -> None:
        """Records at the end of one file and the beginning of the next become durable together."""
        for index in range(12):
            self.exchange(str(index), response_body=os.urandom(8000))
        self.assertGreater(len(self.case.directory.numbers()), 1)
        while self.thread.waiting:
            self.thread.step()
        self.assertEqual(len(self.case.ids(End)), 12)
        self.assertEqual(self.safe[-1], "end 11")

    def test_close_waits_for_the_disk(self) -> None:
        """A clean stop returns when all is durable."""
        self.exchange("a")
        closed = self.case.spool.close()
        self.assertNoResult(closed)
        while self.thread.waiting:
            self.thread.step()
        self.assertIsNone(self.successResultOf(closed))


class OwnThreadTests(TestCase):
    """The thread itself."""

    def test_runs_and_tells(self) -> Deferred[list[object]]:
        """A job's failure arrives in the reactor's thread."""
        thread = OwnThread(reactor)
        self.addCleanup(thread.stop)
        told: Deferred[list[object]] = Deferred()
        results: list[Failure | None] = []

        def done(result: Failure | None) -> None:
            results.append(result)
            if len(results) == 2:
                told.callback(list(results))

        thread.run(lambda: None, done)
        thread.run(lambda: os.stat("/nowhere/at/all") and None, done)
        return told.addCallback(lambda both: self.assertEqual([r and r.type for r in both], [None, FileNotFoundError]))
