"""Monthly partitions by the time in an id."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Any

import psycopg2
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions, first_id, month_of, month_start_ms, months
from aigw.testing.postgres import fresh_database
from aigw.values.ids import LogIds, id_text


def ms(*moment: int) -> int:
    """Milliseconds since the epoch, UTC."""
    return calendar.timegm((*moment, 0, 0, 0)[:6]) * 1000


class MonthTests(SynchronousTestCase):
    """Which month an id belongs to."""

    @given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 11, 30)))
    def test_every_id_lies_in_its_month(self, moment: datetime) -> None:
        """An id made at any time lies between its month's first id and the next month's."""
        now = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
        (month,) = months(now, now)
        self.assertEqual(month, (moment.year, moment.month))
        made = id_text(LogIds(lambda: now).next()) if now else first_id(0)
        after = (moment.year + moment.month // 12, moment.month % 12 + 1)
        self.assertTrue(first_id(month_start_ms(*month)) <= made < first_id(month_start_ms(*after)))

    def test_months_over_new_year(self) -> None:
        """A span from one year into the next holds December and January."""
        self.assertEqual(list(months(ms(2026, 11, 30), ms(2027, 2, 1))), [(2026, 11), (2026, 12), (2027, 1), (2027, 2)])

    def test_no_such_month(self) -> None:
        """A time that no calendar has is refused as such."""
        self.assertRaises(ValueError, month_of, 2**48 - 1)


class PartitionTests(TestCase):
    """The tables."""

    timeout = 30

    async def open(self) -> Database:
        """A fresh database."""
        database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        return database

    async def insert(self, database: Database, at_ms: int) -> None:
        """A body, the narrower of the two tables to write to."""
        await database.query(
            "INSERT INTO log_bodies (id, gateway, request_cut, response_cut, attempts)"
            " VALUES (%s, 1, false, false, '[]')",
            (id_text(LogIds(lambda: at_ms).next()),),
        )

    async def test_rows_find_their_month(self) -> None:
        """Once made, partitions take the first and the last id of their months, and none of the months around."""
        database = await self.open()
        await database.transact(lambda cursor: ensure_partitions(cursor, ms(2026, 11, 23), ms(2026, 12, 1)))
        for at_ms in (ms(2026, 11, 1), ms(2026, 12, 1) - 1, ms(2026, 12, 1), ms(2027, 1, 1) - 1):
            await self.insert(database, at_ms)
        for at_ms in (ms(2026, 11, 1) - 1, ms(2027, 1, 1)):
            await self.assertFailure(Deferred.fromCoroutine(self.insert(database, at_ms)), psycopg2.IntegrityError)
        found = await database.query("SELECT tableoid::regclass::text FROM log_bodies ORDER BY id")
        self.assertEqual(found, [("log_bodies_2026_11",)] * 2 + [("log_bodies_2026_12",)] * 2)

    async def test_partitions_are_like_their_table(self) -> None:
        """A partition has the indexes of its table, and its bytes are not compressed a second time."""
        database = await self.open()
        await database.transact(lambda cursor: ensure_partitions(cursor, ms(2026, 11, 1), ms(2026, 11, 1)))
        indexes = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass"
        of_partition, of_table = (
            await database.query(indexes, ("logs_2026_11",)),
            await database.query(indexes, ("logs",)),
        )
        self.assertEqual(of_partition, of_table)
        stored = await database.query(
            "SELECT attstorage FROM pg_attribute"
            " WHERE attrelid = 'log_bodies_2026_11'::regclass AND attname IN ('request', 'response')"
        )
        self.assertEqual(stored, [("e",)] * 2)

    async def test_many_at_once(self) -> None:
        """Several processes that need the same partitions at once all succeed."""
        database = await self.open()

        async def ensure(cursor: Any) -> None:
            await ensure_partitions(cursor, ms(2026, 11, 1), ms(2027, 1, 1))

        await gatherResults([database.transact(ensure) for _ in range(4)])
        made = await database.query(
            "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('logs'::regclass, 'log_bodies'::regclass)"
        )
        self.assertEqual(made, [(6,)])
