"""Which logs the tables can take: the time in an id must have a partition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from aigw.interfaces import IDatabase
from aigw.logs.source import Entry
from aigw.values.ids import id_ms

DAY_MS = 86_400_000

EnsurePartitions = Callable[[Any, int, int], Awaitable[None]]
Month = tuple[int, int]


class Window:
    """
    Has partitions made before they are needed, and tells which ids are too old or too far ahead to get one.

    Args:
        ensure: Makes the partitions from one moment to another (milliseconds since the epoch) with a cursor.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        oldest_days: How far back partitions are made.
    """

    REASON = "the time in its id is outside of the partitions"

    def __init__(self, ensure: EnsurePartitions, utc_ms: Callable[[], int], oldest_days: int) -> None:
        self._ensure = ensure
        self._utc_ms = utc_ms
        self._oldest_ms = oldest_days * DAY_MS
        self._known: set[Month] = set()

    def split(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Entries that can have a partition, and those that cannot (a clock was wrong, or a disk is years old)."""
        now = self._utc_ms()
        first, last = now - self._oldest_ms, now + DAY_MS
        inside: list[Entry] = []
        outside: list[Entry] = []
        for entry in entries:
            (inside if first <= id_ms(entry.record.origin.id) <= last else outside).append(entry)
        return inside, outside

    async def open(self, database: IDatabase, entries: Sequence[Entry]) -> None:
        """
        Have the partitions of these entries, of this month and of the next.

        Raises:
            StorageUnavailable, psycopg2.Error: As the database says.
        """
        now = self._utc_ms()
        moments = {_month(now): now, _next_month(now): _next_month_ms(now)}
        days = {id_ms(entry.record.origin.id) // DAY_MS for entry in entries}
        moments.update((_month(day * DAY_MS), day * DAY_MS) for day in days)
        missing = sorted(ms for month, ms in moments.items() if month not in self._known)
        if not missing:
            return

        async def ensure(cursor: Any) -> None:
            for ms in missing:
                await self._ensure(cursor, ms, ms)

        await database.transact(ensure)
        self._known.update(moments)

    def forget(self) -> None:
        """Look again before the next batch: retention may have dropped a partition."""
        self._known.clear()


def _month(utc_ms: int) -> Month:
    moment = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return moment.year, moment.month


def _next_month(utc_ms: int) -> Month:
    return _month(_next_month_ms(utc_ms))


def _next_month_ms(utc_ms: int) -> int:
    year, month = _month(utc_ms)
    first = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp() * 1000)
