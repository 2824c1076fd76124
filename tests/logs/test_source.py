"""Tests of aigw.logs.source: a spool as a stream of records."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.logs.position import Position
from aigw.logs.source import Source
from aigw.values.record import Begin
from tests.logs.records import Records, SpoolCase


class SourceTests(SynchronousTestCase):
    """Reading a spool in pieces."""

    def setUp(self) -> None:
        """Make a spool of three segments."""
        self.records = Records()
        self.case = SpoolCase(Path(self.mktemp()))
        self.logged = []
        while self.case.directory.numbers() != [1, 2, 3]:
            self.logged.append(self.log(os.urandom(8000)))
        self.source = Source(self.case.directory, self.case.spool.written_to)

    def log(self, body: bytes) -> bytes:
        """One exchange; its id."""
        begin: Begin = self.records.begin()
        self.case.spool.begin(begin, lambda: None)
        self.case.spool.end(self.records.end(begin, response_body=body), lambda: None)
        self.case.turn()
        return begin.origin.id

    def read_all(self, rows: int = 100, size_bytes: int = 1 << 20) -> list[bytes]:
        """Ids of all that is left to read."""
        ids = []
        while True:
            chunk = self.source.read(self.source.position, rows, size_bytes)
            if chunk.end == self.source.position:
                return ids
            self.assertEqual(chunk.damaged, [])
            self.assertLessEqual(len(chunk.entries), rows)
            ids += [entry.record.origin.id for entry in chunk.entries]
            self.source.position = chunk.end

    def test_every_record_once_in_order(self) -> None:
        """However small the pieces, each record is read once, also over the border of two segments."""
        self.source.learn(None)
        self.assertEqual(self.read_all(rows=2), self.logged)
        self.assertEqual(self.source.backlog_bytes(), 0)

    def test_goes_on_where_the_database_says(self) -> None:
        """After a restart nothing is sent twice and nothing is left out."""
        self.source.learn(None)
        chunk = self.source.read(self.source.position, 3, 1 << 20)
        again = Source(self.case.directory, self.case.spool.written_to)
        again.learn(chunk.entries[-1].end)
        self.source = again
        self.assertEqual(self.read_all(), self.logged[3:])

    def test_reads_no_further_than_was_written(self) -> None:
        """What stands in memory only is not shipped: it is not safe yet."""
        self.source.learn(None)
        self.read_all()
        self.case.spool.end(self.records.end(), lambda: None)
        self.assertEqual(self.read_all(), [])
        self.case.turn()
        self.assertEqual(len(self.read_all()), 1)

    def test_deletes_only_what_was_read(self) -> None:
        """A segment is deleted when the reading has left it, and not before."""
        self.source.learn(None)
        self.source.position = self.source.read(self.source.position, 1, 1 << 20).end
        self.assertEqual(self.source.delete_read(), 0)
        self.read_all()
        self.assertGreater(self.source.delete_read(), 0)
        self.assertEqual(self.case.directory.numbers(), [3])

    def test_a_position_in_a_deleted_segment(self) -> None:
        """A process that died between shipping a segment and telling so goes on with the next."""
        self.case.directory.remove(1)
        self.source.learn(Position(1, 60_000))
        self.assertEqual(self.source.position, Position.start_of(2))

    def test_a_file_that_lost_what_was_shipped(self) -> None:
        """After a loss of power that took shipped bytes, what recovery wrote in their place is still found."""
        dead = Source(self.case.directory)
        dead.learn(Position(3, 10_000_000))
        self.assertEqual(dead.position, Position.start_of(3))
