"""What an operator sets about the spool and its shipping."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]


class SpoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How records are made safe before PostgreSQL has them.

    Attributes:
        durability: `process`: written before the final frame, safe against kill -9. `power`: on the disk before it.
        segment_bytes: Length of one preallocated file; a record that is larger gets a file of its own length.
        spool_bytes: All of this process's files together, adopted and quarantined ones included.
        when_full: `refuse`: no new request is taken while there is no room. `drop-bodies`: bodies are left out (and
            counted) from three quarters of `spool_bytes` on, so that many more requests find room; then refuse.
    """

    durability: Literal["process", "power"] = "process"
    segment_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 16 * 1024 * 1024
    spool_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 4 * 1024 * 1024 * 1024
    when_full: Literal["refuse", "drop-bodies"] = "refuse"

    def __post_init__(self) -> None:
        if self.spool_bytes < 2 * self.segment_bytes:
            # A new segment is made before the old one is cut to its length.
            raise ValueError("spool_bytes must have room for two segments")


class ShipperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How records travel from the spool to PostgreSQL.

    Attributes:
        batch_rows: Rows of one transaction, at most.
        batch_bytes: Bytes read from the spool for one transaction; a single larger record still goes, alone.
        ship_every_s: How long a record waits for company before it is sent.
        backoff_s: Longest pause between two tries while the database is away.
        quarantine_retry_s: How often records that the database refused are tried again.
        oldest_days: A log older than this goes to quarantine instead of calling an old partition back to life.
    """

    batch_rows: Annotated[int, msgspec.Meta(ge=1, le=5_000)] = 500
    batch_bytes: Annotated[int, msgspec.Meta(ge=4_096)] = 2 * 1024 * 1024
    ship_every_s: PositiveSeconds = 0.2
    backoff_s: PositiveSeconds = 2.0
    quarantine_retry_s: PositiveSeconds = 3600.0
    oldest_days: Positive = 400
