"""Adding up a batch before it is added to the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from aigw.logs.rows import LogRow
from aigw.values.ids import id_ms

HOUR_MS = 3_600_000


class Rollup(msgspec.Struct):
    """What one gateway used in one hour of one model; the fields are the columns of `usage_rollups`."""

    gateway: int
    hour_s: int
    provider: int
    model: int
    requests: int = 0
    errors: int = 0
    cached: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_nanousd: int = 0
    duration_ms: int = 0

    def add(self, row: LogRow) -> None:
        """Count one exchange."""
        self.requests += 1
        self.errors += not row.success
        self.cached += row.cached
        self.unpriced += row.cost_nanousd is None
        self.tokens_in += row.tokens_in or 0
        self.tokens_out += row.tokens_out or 0
        self.cache_read += row.cache_read or 0
        self.cache_write += row.cache_write or 0
        self.cost_nanousd += row.cost_nanousd or 0
        self.duration_ms += row.duration_ms


def rollups_of(rows: Iterable[tuple[bytes, LogRow]]) -> list[Rollup]:
    """Sums of rows, each with its id, by gateway, hour (of the id), provider and model."""
    sums: dict[tuple[int, int, int, int], Rollup] = {}
    for log_id, row in rows:
        hour_s = id_ms(log_id) // HOUR_MS * 3600
        key = (row.gateway, hour_s, row.provider, row.model or 0)
        if key not in sums:
            sums[key] = Rollup(*key)
        sums[key].add(row)
    return list(sums.values())


def live_rows_of(rows: Iterable[LogRow]) -> Counter[int]:
    """New rows by gateway."""
    return Counter(row.gateway for row in rows)
