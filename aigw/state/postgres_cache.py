"""Cached answers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from aigw.interfaces import IDatabase
from aigw.state.shared_counters import unavailable
from aigw.state.sweeping import Sweeping

SWEPT_ROWS = 1_000

GET = "SELECT value FROM cached_answers WHERE key = %s"

PUT = """
    INSERT INTO cached_answers (key, kept_until_ms, bytes, value) VALUES (%s, %s, %s, %s)
    ON CONFLICT (key) DO UPDATE
        SET kept_until_ms = excluded.kept_until_ms, bytes = excluded.bytes, value = excluded.value
"""

DROP = "DELETE FROM cached_answers WHERE key = %s"

# Out go those that have expired; then, beyond the bound, those that would expire first. Rows that somebody writes are
# passed over. The two numbers in the middle are the row that is given and the room that there is.
SWEEP = """
    WITH leaving AS (
        SELECT key FROM cached_answers WHERE kept_until_ms <= %s
        ORDER BY kept_until_ms LIMIT %s FOR UPDATE SKIP LOCKED
    ), left_out AS (
        DELETE FROM cached_answers c USING leaving l WHERE c.key = l.key RETURNING 1
    )
    SELECT count(*) FROM left_out
"""

# From the newest on, as many as have room; the moment at which the first without room expires.
BEYOND = """
    SELECT max(kept_until_ms)
    FROM (SELECT kept_until_ms, sum(bytes) OVER (ORDER BY kept_until_ms DESC ROWS UNBOUNDED PRECEDING) AS total
          FROM cached_answers) AS newest_first
    WHERE total > %s
"""


class PostgresCache:
    """
    A `CacheStore`.

    Args:
        database: With the schema's tables.
        clock: For the sweep.
        now_ms: UTC, milliseconds since the epoch.
        most_bytes: Of all answers together; between two sweeps there may be more.
        sweeps: Whether to remove what has expired; of several processes one is enough.
    """

    def __init__(
        self, database: IDatabase, clock: Any, now_ms: Callable[[], int], most_bytes: int, sweeps: bool = True
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._most_bytes = most_bytes
        self._sweeping = Sweeping(clock, self.sweep)
        self._sweeps = sweeps

    @property
    def available(self) -> bool:
        """See `CacheStore`."""
        return bool(self._database.available)

    def start(self) -> None:
        """See `CacheStore`; the database is started by whoever made it."""
        if self._sweeps:
            self._sweeping.start()

    async def stop(self) -> None:
        """See `CacheStore`."""
        await self._sweeping.stop()

    def get(self, key: bytes) -> Deferred[bytes | None]:
        """See `CacheStore`."""
        return self._query(GET, (key,)).addCallback(lambda rows: bytes(rows[0][0]) if rows else None)

    def put(self, key: bytes, value: bytes, kept_until_ms: int) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._query(PUT, (key, kept_until_ms, len(value), value))

    def drop(self, key: bytes) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._query(DROP, (key,))

    def probe(self) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._query("SELECT 1", ())

    async def sweep(self) -> None:
        """Remove what has expired, and what is too much."""
        await self._remove_until(self._now_ms())
        ((beyond,),) = await self._database.query(BEYOND, (self._most_bytes,))
        if beyond is not None:
            await self._remove_until(beyond)

    async def _remove_until(self, moment_ms: int) -> None:
        rows = SWEPT_ROWS
        while rows == SWEPT_ROWS:
            ((rows,),) = await self._database.query(SWEEP, (moment_ms, SWEPT_ROWS))

    def _query(self, sql: str, parameters: Sequence[Any]) -> Deferred[list[tuple[Any, ...]]]:
        return Deferred.fromCoroutine(self._ask(sql, parameters))

    async def _ask(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return await self._database.query(sql, parameters)
        except Exception as error:
            raise unavailable("PostgreSQL", error) from error
