"""Tests of aigw/storage/migrations/0001_logs.sql: what a log costs on the disk."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.testing.postgres import fresh_database

ROWS = 40_000
# The bound that the design sets for a row with all of its indexes.
ROW_BYTES = 450
NOW_MS = 1_795_392_000_000

# Every column is filled, the texts as clients fill them: an event id of 36 characters, and two entries of metadata. Ids
# come in the order of time, as the gateway makes them.
FILL = """
    INSERT INTO logs
    SELECT (lpad(to_hex(%s + n / 10), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
           n, n, n, 1 + n %% 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, n, n, n, n, n, n,
           200, 0, 0, 1, true, true, false, true, false, false,
           gen_random_uuid()::text, '{"team": "research", "user": "u-1234"}'
      FROM generate_series(1, %s) AS n
"""
SIZE = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('logs')"


class LogTableTests(TestCase):
    """The narrow row."""

    timeout = 60

    async def test_a_row_stays_narrow(self) -> None:
        """A row with everything in it, and its share of every index, takes no more than the design allows."""
        database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()

        async def fill(cursor: Any) -> None:
            await ensure_partitions(cursor, NOW_MS, NOW_MS)
            await cursor.execute(FILL, (NOW_MS, ROWS))

        await database.transact(fill)
        ((size_bytes,),) = await database.query(SIZE)
        self.assertLessEqual(int(size_bytes) / ROWS, ROW_BYTES)
        self.assertGreater(int(size_bytes) / ROWS, ROW_BYTES / 2, "the rows are not full, or were not measured")
