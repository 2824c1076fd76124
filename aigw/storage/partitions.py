"""One partition a month for the tables that are keyed by a UUIDv7 id."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

TABLES = ("logs", "log_bodies")
# Any number, as long as it never changes and nobody else's advisory lock has it.
LOCK = 4_201_788

PARTITIONS = """
    SELECT partition.relname
      FROM pg_inherits
      JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
     WHERE pg_inherits.inhparent = ANY (%s::regclass[])
"""


def month_of(utc_ms: int) -> tuple[int, int]:
    """Year and month of a moment, by UTC. Raises ValueError from the year 10,000 on."""
    try:
        moment = datetime.fromtimestamp(utc_ms / 1000, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"No month for {utc_ms} ms") from error
    return moment.year, moment.month


def month_start_ms(year: int, month: int) -> int:
    """The first millisecond of a month, by UTC."""
    return calendar.timegm((year, month, 1, 0, 0, 0)) * 1000


def first_id(utc_ms: int) -> str:
    """The smallest UUIDv7 of a millisecond, in its usual spelling (version and variant left at zero)."""
    h = f"{utc_ms:012x}"
    return f"{h[:8]}-{h[8:]}-0000-0000-000000000000"


def months(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """Every month from one moment to another, both included."""
    year, month = month_of(from_ms)
    last = month_of(to_ms)
    while (year, month) <= last:
        yield year, month
        year, month = _next(year, month)


async def ensure_partitions(cursor: Any, from_ms: int, to_ms: int) -> None:
    """
    Make the partitions for every id from one moment to another.

    Safe when several processes do it at once: those that find something missing go one after the other.

    Args:
        cursor: As `IDatabase.transact` gives it.
        from_ms, to_ms: Milliseconds since the epoch, both included.
    Raises:
        ValueError: A moment that no calendar has.
        psycopg2.Error: The server refused.
    """
    wanted = [(table, *month) for month in months(from_ms, to_ms) for table in TABLES]
    if not await _missing(cursor, wanted):
        return
    await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    for table, year, month in await _missing(cursor, wanted):
        name = partition_name(table, year, month)
        # Made beside the table and attached: CREATE TABLE ... PARTITION OF would lock out every reader and writer of
        # the whole table, ATTACH lets them go on.
        await cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)")
        bounds = (first_id(month_start_ms(year, month)), first_id(month_start_ms(*_next(year, month))))
        await cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)


def partition_name(table: str, year: int, month: int) -> str:
    """Such as `logs_2026_11`."""
    return f"{table}_{year:04d}_{month:02d}"


async def _missing(cursor: Any, wanted: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    # Read from the catalogue's tables: to_regclass() answers out of a cache that may have missed another's commit.
    await cursor.execute(PARTITIONS, (list(TABLES),))
    there = {row[0] for row in cursor.fetchall()}
    return [each for each in wanted if partition_name(*each) not in there]


def _next(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)
