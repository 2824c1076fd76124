"""Tests of aigw.logs.spool and aigw.logs.segment."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import SpoolFull
from aigw.logs.settings import SpoolSettings
from aigw.testing.logs import FullDisk
from aigw.values.record import Begin, End
from tests.logs.records import SMALL, Records, SpoolCase, walk


class Case(SynchronousTestCase):
    """A spool on a disk that the test rules."""

    def setUp(self) -> None:
        """Make the disk and the spool."""
        self.disk = FullDisk()
        self.records = Records()
        self.safe: list[str] = []
        self.case = SpoolCase(Path(self.mktemp()), volume=self.disk)
        self.spool = self.case.spool

    def tell(self, name: str) -> object:
        """A callback that notes its name."""
        return lambda: self.safe.append(name)

    def open_exchange(self) -> Begin:
        """Begin an exchange and let a turn pass."""
        begin = self.records.begin()
        self.spool.begin(begin, lambda: None)
        self.case.turn()
        return begin

    def fill(self) -> list[Begin]:
        """Begin exchanges until no more are taken."""
        begun = []
        while True:
            begin = self.records.begin()
            try:
                self.spool.begin(begin, lambda: None)
            except SpoolFull:
                self.case.turn()
                return begun
            begun.append(begin)


class GroupTests(Case):
    """All records of a turn in one write."""

    def test_one_write_a_turn(self) -> None:
        """A thousand exchanges in one turn cost one system call."""
        before = self.disk.writes
        for _ in range(20):
            begin = self.records.begin()
            self.spool.begin(begin, lambda: None)
            self.spool.end(self.records.end(begin), lambda: None)
        self.case.turn()
        self.assertEqual(self.disk.writes - before, 1)
        self.assertEqual(len(self.case.stored()), 40)

    def test_records_are_in_the_file_when_released(self) -> None:
        """After kill -9 at the moment of release, the record is there."""
        seen: list[int] = []
        begin = self.records.begin()
        self.spool.begin(begin, lambda: seen.append(len(self.case.stored())))
        self.case.turn()
        self.assertEqual(seen, [1])

    def test_one_failing_release_does_not_hold_the_others(self) -> None:
        """A defect in one exchange does not keep other clients' final frames."""

        def fail() -> None:
            raise RuntimeError("defect")

        self.spool.begin(self.records.begin(), fail)
        self.spool.begin(self.records.begin(), lambda: self.safe.append("second"))
        self.case.turn()
        self.assertEqual(self.safe, ["second"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_odd_texts_are_stored(self) -> None:
        """A request with a lone surrogate in its event id gets its row, and so do its neighbours."""
        begin = self.records.begin(event_id="a\ud800b")
        self.spool.begin(begin, lambda: None)
        self.spool.end(self.records.end(begin), lambda: None)
        self.open_exchange()
        self.assertEqual([record.origin.event_id for record in self.case.stored()], ["a?b", "a?b", ""])


class BadDiskTests(Case):
    """Writes that take a part, or fail."""

    def test_short_writes(self) -> None:
        """A disk that takes a few bytes at a time still gets every record."""
        self.disk.piece_bytes = 7
        begin = self.open_exchange()
        self.assertEqual(self.case.ids(Begin), [begin.origin.id])

    def test_a_failed_write_releases_nobody_and_is_tried_again(self) -> None:
        """While the disk refuses, final frames wait and new requests are refused; then all goes on, nothing twice."""
        begin = self.open_exchange()
        self.disk.broken = True
        self.spool.end(self.records.end(begin, response_body=b"x" * 5000), lambda: self.safe.append("end"))
        self.case.turn()
        self.assertEqual(self.safe, [])
        self.assertFalse(self.spool.accepting)
        self.assertEqual(self.case.ids(End), [], "half a frame was taken for a record")
        self.disk.broken = False
        self.case.clock.advance(1)
        self.assertEqual(self.safe, ["end"])
        self.assertEqual(self.case.ids(End), [begin.origin.id])
        self.assertTrue(self.spool.accepting)
        self.assertEqual(self.case.stats.write_failures, 1)


class RoomTests(Case):
    """Segments, and what happens when there is no room for another."""

    def test_open_exchanges_are_carried_into_each_new_segment(self) -> None:
        """An exchange that runs for hours stands in the last segment, so older ones can be deleted."""
        long_running = self.open_exchange()
        while self.case.directory.numbers() != [1, 2, 3]:
            self.spool.end(self.records.end(response_body=os.urandom(8000)), lambda: None)
            self.case.turn()
        last = self.case.directory.segment(3)
        self.assertIn(long_running.origin.id, [frame.log_id for frame in walk(last)])
        self.assertEqual(self.case.ids(Begin).count(long_running.origin.id), 3)

    def test_a_finished_segment_gives_back_its_room(self) -> None:
        """Room that was only kept is free for others as soon as the segment is finished."""
        for _ in range(12):
            self.spool.end(self.records.end(response_body=os.urandom(8000)), lambda: None)
        self.case.turn()
        files = [self.case.directory.segment(number).stat().st_size for number in self.case.directory.numbers()]
        self.assertEqual(files[-1], 65_536)
        self.assertLess(files[0], 65_536)
        self.assertEqual(self.case.quota.used_bytes, sum(files))

    def test_a_record_longer_than_a_segment(self) -> None:
        """A body of megabytes is stored, in a file of its own length."""
        begin = self.open_exchange()
        self.spool.end(self.records.end(begin, response_body=os.urandom(300_000)), lambda: self.safe.append("end"))
        self.case.turn()
        self.assertEqual((self.safe, self.case.ids(End)), (["end"], [begin.origin.id]))
        self.assertEqual(self.case.stats.bodies_dropped, 0)

    def test_every_running_exchange_ends_on_a_full_disk(self) -> None:
        """A disk that fills up ends no exchange early: each gets its row, if without bodies."""
        self.disk.room_bytes = 0
        begun = self.fill()
        self.assertGreater(len(begun), 10)
        for begin in begun:
            self.spool.end(self.records.end(begin, response_body=b"x" * 60_000, error="y" * 9999), lambda: None)
        self.case.turn()
        self.assertEqual(self.case.ids(End), [begin.origin.id for begin in begun])
        self.assertEqual(self.case.stats.bodies_dropped, len(begun))
        self.assertEqual(self.case.stats.ends_lost, 0)

    def test_requests_are_taken_again_when_there_is_room(self) -> None:
        """Nobody has to restart the gateway after a full disk was cleaned up."""
        self.disk.room_bytes = 0
        self.fill()
        self.assertFalse(self.spool.accepting)
        self.disk.room_bytes = 1 << 20
        self.case.clock.advance(1)
        self.assertTrue(self.spool.accepting)
        self.open_exchange()

    def test_the_quota_holds_and_frees(self) -> None:
        """The spool never takes more than it may, and takes requests as soon as shipped segments are deleted."""
        begun = self.fill()
        self.assertLessEqual(self.case.quota.used_bytes, SMALL.spool_bytes)
        self.assertEqual(self.case.quota.used_bytes, self.case.directory.bytes_used())
        for begin in begun:
            self.spool.end(self.records.end(begin), lambda: None)
        self.case.turn()
        self.assertFalse(self.spool.accepting)
        for number in self.case.directory.numbers()[:-1]:
            self.case.quota.give_back(self.case.directory.remove(number))
        self.case.turn()
        self.assertTrue(self.spool.accepting)

    def test_drop_bodies_before_refusing(self) -> None:
        """Where the owner chose it, bodies are left out while there is little room, and requests still taken."""
        choice = SpoolSettings(segment_bytes=65_536, spool_bytes=262_144, when_full="drop-bodies")
        case = SpoolCase(Path(self.mktemp()), choice, self.disk)
        while not case.stats.bodies_dropped:
            begin = self.records.begin()
            case.spool.begin(begin, lambda: None)
            case.spool.end(self.records.end(begin, request_body=b"q" * 9000), lambda: None)
            case.turn()
        self.assertTrue(case.spool.accepting)
        last = case.stored()[-1]
        assert isinstance(last, End)
        self.assertEqual((last.request_body, last.request_cut, last.response_cut), (None, True, False))

    def test_refuse_before_dropping_bodies(self) -> None:
        """By default requests are refused rather than logged without their bodies, one after the other."""
        case = SpoolCase(Path(self.mktemp()), SpoolSettings(segment_bytes=65_536, spool_bytes=262_144), self.disk)
        while case.spool.accepting:
            case.spool.begin(begin := self.records.begin(), lambda: None)
            case.spool.end(self.records.end(begin, request_body=b"q" * 30_000), lambda: None)
            case.turn()
        self.assertEqual(case.stats.bodies_dropped, 1)
        case.clock.advance(5)
        self.assertFalse(case.spool.accepting)

    def test_a_start_on_a_full_disk(self) -> None:
        """The gateway starts without room for a segment, refuses, and takes requests when room comes."""
        case = SpoolCase(Path(self.mktemp()), volume=(disk := FullDisk(0)))
        self.assertFalse(case.spool.accepting)
        case.spool.end(self.records.end(), lambda: self.safe.append("end"))
        case.turn()
        self.assertEqual((self.safe, case.stats.ends_lost), (["end"], 1))
        disk.room_bytes = 1 << 20
        case.clock.advance(1)
        self.assertTrue(case.spool.accepting)


class AnyOrderTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from(["begin", "end", "big end", "turn", "break", "mend", "full", "room"]), max_size=60))
    def test_what_was_released_is_in_the_file_once(self, steps: list[str]) -> None:
        """No record is lost, doubled, or released before it is written, whatever the disk does meanwhile."""
        disk, records = FullDisk(), Records()
        case = SpoolCase(Path(self.mktemp()), volume=disk)
        running: list[Begin] = []
        released: list[bytes] = []
        for step in [*steps, "mend", "turn"]:
            if step == "begin":
                begin = records.begin()
                try:
                    case.spool.begin(begin, lambda: None)
                except SpoolFull:
                    continue
                running.append(begin)
            elif step.endswith("end") and step != "mend" and running:
                begin = running.pop(0)
                body = b"x" * (40_000 if step == "big end" else 10)
                log_id = begin.origin.id
                case.spool.end(records.end(begin, response_body=body), lambda log_id=log_id: released.append(log_id))
            elif step == "turn":
                case.clock.advance(1)
            elif step in ("break", "mend"):
                disk.broken = step == "break"
            elif step in ("full", "room"):
                disk.room_bytes = 0 if step == "full" else 1 << 30
            stored = case.ids(End)
            self.assertEqual(len(stored), len(set(stored)))
            self.assertLessEqual(set(released), set(stored))
        self.assertEqual(len(released), case.stats.ended)
        self.assertEqual(case.stats.ends_lost, 0)
        self.assertEqual(case.spool.open_exchanges, len(running))
        case.spool.close()
