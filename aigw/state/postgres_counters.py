"""Counters in PostgreSQL. The work is done by two functions there: see the migration `state`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from twisted.internet.defer import Deferred

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.state.settling import Batch
from aigw.state.shared_counters import bounded, unavailable
from aigw.state.sweeping import Sweeping
from aigw.values.counting import Charge, Verdict

KEY_BYTES = 16
# Clocks of gateways differ: what has expired here may still be asked for there.
GRACE_MS = 60_000
SWEPT_ROWS = 1_000

TAKE = """
    SELECT refused, oldest, held
    FROM aigw_take(%s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                   %s::integer[])
"""

READ = """
    SELECT (SELECT coalesce(sum(c.used), 0)::bigint
            FROM counters c
            WHERE c.key = t.key AND c.slot BETWEEN t.first AND t.slot)
    FROM unnest(%s::bytea[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS t (key, first, slot, position)
    ORDER BY t.position
"""

SETTLE = "SELECT aigw_settle(%s, %s, %s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[])"

# Rows that somebody holds are passed over, so that the sweep neither waits nor is waited for in a circle.
SWEEP = """
    WITH expired AS (
        SELECT key, slot FROM counters WHERE expires_ms <= %s ORDER BY expires_ms LIMIT %s FOR UPDATE SKIP LOCKED
    ), swept AS (
        DELETE FROM counters c USING expired e WHERE c.key = e.key AND c.slot = e.slot RETURNING 1
    )
    SELECT count(*) FROM swept
"""

# Classes of errors that say nothing against the statement: a rollback, too few resources, an operator, the system.
PASSING = {"40", "53", "55", "57", "58"}

# A process that has applied nothing for a day has no batch under way, and the next begins its row anew.
SWEEP_WRITERS = "DELETE FROM counter_writers WHERE applied_at < now() - interval '1 day'"


class PostgresCounters:
    """
    A `CounterStore`.

    Args:
        database: With the schema's tables.
        clock: For the sweep.
        now_ms: UTC, milliseconds since the epoch.
        sweeps: Whether to remove what has expired; of several processes one is enough.
    """

    def __init__(self, database: IDatabase, clock: Any, now_ms: Callable[[], int], sweeps: bool = True) -> None:
        self._database = database
        self._now_ms = now_ms
        self._sweeping = Sweeping(clock, self._sweep)
        self._sweeps = sweeps

    @property
    def available(self) -> bool:
        """See `CounterStore`."""
        return bool(self._database.available)

    def start(self) -> None:
        """See `CounterStore`; the database is started by whoever made it."""
        if self._sweeps:
            self._sweeping.start()

    async def stop(self) -> None:
        """See `CounterStore`."""
        await self._sweeping.stop()

    def take(self, charges: Sequence[Charge]) -> Deferred[Verdict]:
        """See `CounterStore`."""
        keys = [digest(each.key) for each in charges]
        arrays = (
            keys,
            [each.slot for each in charges],
            [each.first for each in charges],
            [bounded(each.amount) for each in charges],
            [bounded(each.need) for each in charges],
            [bounded(each.limit) for each in charges],
            [each.expires_ms for each in charges],
            sorted({int.from_bytes(key[:4], "big", signed=True) for key in keys}),
        )
        return Deferred.fromCoroutine(self._take(arrays))

    def read(self, charges: Sequence[Charge]) -> Deferred[tuple[int, ...]]:
        """See `CounterStore`."""
        arrays = (
            [digest(each.key) for each in charges],
            [each.first for each in charges],
            [each.slot for each in charges],
        )
        return Deferred.fromCoroutine(self._read(arrays))

    def settle(self, batch: Batch) -> Deferred[None]:
        """See `CounterStore`."""
        return Deferred.fromCoroutine(self._settle(batch))

    def probe(self) -> Deferred[Any]:
        """See `CounterStore`."""
        return Deferred.fromCoroutine(self._query("SELECT 1", ()))

    async def _take(self, arrays: Sequence[Any]) -> Verdict:
        ((refused, oldest, held),) = await self._query(TAKE, arrays)
        return Verdict(refused, tuple(held), oldest)

    async def _read(self, arrays: Sequence[Any]) -> tuple[int, ...]:
        return tuple(held for (held,) in await self._query(READ, arrays))

    async def _settle(self, batch: Batch) -> None:
        arrays = (
            [digest(each.key) for each in batch.corrections],
            [each.slot for each in batch.corrections],
            [bounded(each.delta) for each in batch.corrections],
            [each.expires_ms for each in batch.corrections],
        )
        try:
            await self._database.query(SETTLE, (batch.writer, batch.number, *arrays))
        except StorageUnavailable as error:
            raise unavailable("PostgreSQL", error) from error
        except Exception as error:
            if str(getattr(error, "pgcode", ""))[:2] in PASSING:
                raise unavailable("PostgreSQL", error) from error
            raise

    async def _query(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return await self._database.query(sql, parameters)
        except Exception as error:
            raise unavailable("PostgreSQL", error) from error

    async def _sweep(self) -> None:
        rows = SWEPT_ROWS
        while rows == SWEPT_ROWS:
            ((rows,),) = await self._database.query(SWEEP, (self._now_ms() - GRACE_MS, SWEPT_ROWS))
        await self._database.query(SWEEP_WRITERS)


def digest(key: str) -> bytes:
    """What stands for a counter's name in the table. A name may hold what a caller sent, lone surrogates included."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
