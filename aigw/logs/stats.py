"""What the log path counts, for metrics, health and tests."""

from __future__ import annotations

import attrs


@attrs.define
class LogStats:
    """
    Plain numbers, written by the spool and the shipper in the reactor's thread and read by whoever likes.

    Attributes:
        begun: Exchanges whose `Begin` was taken.
        ended: Exchanges whose `End` was taken.
        refused: Calls of `begin` that raised SpoolFull.
        bodies_dropped: Ends stored without their bodies for want of room.
        ends_lost: Ends without a `Begin` that found no room at all.
        writes: Calls of write() that put records into the spool.
        write_failures: Writes, allocations and syncs that the disk refused.
        interrupted: Exchanges of dead processes that were closed on their behalf.
        torn_bytes: Bytes of half-written records at the end of a dead process's spool.
        corrupt_bytes: Bytes in the middle of a spool that were no record; kept in quarantine.
        shipped: Exchanges that the database has committed.
        quarantined: Records that the database refused and that were put aside.
        quarantine_records: Records in quarantine now.
        released: Records that left quarantine for the database.
        ship_failures: Transactions that failed for want of a database.
        spool_bytes: What the files of the spool, adopted spools and the quarantine occupy now.
    """

    begun: int = 0
    ended: int = 0
    refused: int = 0
    bodies_dropped: int = 0
    ends_lost: int = 0
    writes: int = 0
    write_failures: int = 0
    interrupted: int = 0
    torn_bytes: int = 0
    corrupt_bytes: int = 0
    shipped: int = 0
    quarantined: int = 0
    quarantine_records: int = 0
    released: int = 0
    ship_failures: int = 0
    spool_bytes: int = 0
