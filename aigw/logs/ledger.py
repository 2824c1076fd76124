"""
What spend counters were charged, kept where it outlives the process.

Each `End` says what it cost each counter. The shipper adds that up in the transaction that stores the rows, so a sum is
as exact as the rollups: a batch that is sent twice counts once, and what was logged nowhere else counts too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from twisted.logger import Logger

from aigw.interfaces import IDatabase
from aigw.values.counting import Charged, Correction

INT64_MAX = 2**63 - 1
# The last moment of the year 9999; the server knows later ones, but our calendars do not.
LAST_MS = 253_402_300_799_999
# An entry of the table's index has no room for a longer key.
KEY_BYTES = 2_000

SWEEP_ROWS = 1_000
LOAD_ROWS = 5_000

# Sorted, so that two transactions never wait for each other in a circle.
ADD_CHARGES = """
    INSERT INTO spend_ledger AS old (key, slot, spool, amount, expires_at)
    SELECT key, slot, %s::uuid, amount, to_timestamp(expires_ms / 1000.0)
      FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) AS given (key, slot, amount, expires_ms)
     ORDER BY key, slot
    ON CONFLICT (key, slot, spool) DO UPDATE
       SET amount = old.amount + excluded.amount, expires_at = greatest(old.expires_at, excluded.expires_at)
"""
# Rows that another process is adding to, or deleting, are left to it. The hour is for clocks that differ.
DELETE_EXPIRED = """
    DELETE FROM spend_ledger
     WHERE (key, slot, spool) IN (
           SELECT key, slot, spool FROM spend_ledger
            WHERE expires_at < now() - interval '1 hour'
            ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING 1
"""
# A walk along the primary key, a page at a time.
FIND_SUMS = """
    SELECT key, slot, sum(amount)::bigint, (extract(epoch FROM max(expires_at)) * 1000)::bigint
      FROM spend_ledger
     WHERE (key, slot) > (%s, %s) AND spool <> %s AND expires_at > now()
     GROUP BY key, slot
     ORDER BY key, slot
     LIMIT %s
"""

_log = Logger()


@attrs.define
class _Sum:
    """What one counter's slot was charged, and until when it counts."""

    amount: int = 0
    expires_ms: int = 0


def _sums(charges: Iterable[Charged]) -> dict[tuple[str, int], _Sum]:
    """Charges by key and slot, in order; those of nothing are left out."""
    sums: dict[tuple[str, int], _Sum] = {}
    for charged in charges:
        if not charged.amount:
            continue
        if "\0" in charged.key or len(charged.key.encode()) > KEY_BYTES:
            # Losing this counter's sum at a restart is better than losing the batch.
            _log.error("A spend counter's key cannot be stored: {key}", key=charged.key[:64])
            continue
        summed = sums.setdefault((charged.key, charged.slot), _Sum())
        summed.amount += charged.amount
        summed.expires_ms = max(summed.expires_ms, charged.expires_ms)
    return sums


async def add_charges(cursor: Any, spool_id: bytes, charges: Iterable[Charged]) -> None:
    """
    Add charges to the ledger.

    Args:
        cursor: Within the transaction that stores their exchanges.
        spool_id: Of the spool that they came from.
        charges: Of exchanges that were not counted before.
    """
    sums = _sums(charges)
    if not sums:
        return
    keys, slots = zip(*sums, strict=True)
    amounts = [max(-INT64_MAX, min(each.amount, INT64_MAX)) for each in sums.values()]
    expiries = [max(0, min(each.expires_ms, LAST_MS)) for each in sums.values()]
    await cursor.execute(ADD_CHARGES, (spool_id.hex(), list(keys), list(slots), amounts, expiries))


async def load_ledger(database: IDatabase, own_spool: bytes | str) -> list[Correction]:
    """
    What the counters hold by the word of all other spools.

    Args:
        database: Where the ledger is.
        own_spool: Id of this process's spool, 16 bytes or a UUID as text: its exchanges are counted in memory already.
    Returns:
        A sum for each key and slot that has not expired.
    Raises:
        StorageUnavailable: The database is away.
    """
    spool = own_spool.hex() if isinstance(own_spool, bytes) else own_spool
    sums: list[Correction] = []
    # No key is empty, and no slot is lower.
    key, slot = "", -INT64_MAX
    while True:
        rows = await database.query(FIND_SUMS, (key, slot, spool, LOAD_ROWS))
        sums += [Correction(*row) for row in rows]
        if len(rows) < LOAD_ROWS:
            return sums
        key, slot = rows[-1][:2]


async def sweep_ledger(database: IDatabase) -> bool:
    """
    Delete some of what has expired.

    Returns:
        Whether there may be more.
    Raises:
        StorageUnavailable: The database is away.
    """
    return len(await database.query(DELETE_EXPIRED, (SWEEP_ROWS,))) == SWEEP_ROWS
