"""
How fast the shipper empties a spool, what a row costs, and how long it holds the reactor.

Run: python benchmarks/ship_rows.py [rows] [bytes of each body]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from aigw.logs.service import LogService
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.partitions import ensure_partitions
from aigw.testing.postgres import fresh_database
from aigw.values.ids import LogIds
from aigw.values.record import Attempt, Begin, End, Origin, Target
from aigw.values.usage import Usage


class SlowTurns:
    """Measures the CPU of this thread between two looks at the sockets."""

    def __init__(self, reactor: Any) -> None:
        self.longest_s = 0.0
        self.over_5_ms = 0
        self._select = reactor.doIteration
        self._left = time.thread_time()
        reactor.doIteration = self._iterate

    def _iterate(self, delay: float | None) -> None:
        self._note()
        self._select(delay)
        self._note()

    def _note(self) -> None:
        now = time.thread_time()
        held, self._left = now - self._left, now
        self.longest_s = max(self.longest_s, held)
        self.over_5_ms += held > 0.005


async def measure(reactor: Any, rows: int, body_bytes: int) -> None:
    """Fill a spool, then ship it."""
    database = Database(reactor, read_dsn(await fresh_database(reactor)))
    database.start()
    await database.reached()
    root = Path(tempfile.mkdtemp())
    logs = LogService(reactor, root, SpoolSettings(), ShipperSettings())
    logs.open()
    ids = LogIds(lambda: time.time_ns() // 1_000_000)
    text = os.urandom(body_bytes // 4).hex().encode() * 2
    for index in range(rows):
        origin = Origin(ids.next(), "local", "default", "websocket", f"e{index}", "tok", "agent/1.0")
        target = Target("openai", "chat/completions", "gpt-4o-mini", "application/json", body_bytes)
        logs.sink.begin(Begin(origin, target), lambda: None)
        attempts = [Attempt(0, "openai", 200, 0, 0, 210, 400, "gpt-4o-mini")]
        sizes = (400, 210, 200, True, True, 0, "application/json", body_bytes, "gpt-4o-mini-2024")
        end = End(origin, target, *sizes, Usage(40, 60), 5_000, 0, "", attempts, text[:body_bytes], text[:body_bytes])
        logs.sink.end(end, lambda: None)
        if index % 50 == 49:
            await deferLater(reactor, 0)
    logs.sink.flush_now()
    turns = SlowTurns(reactor)
    cpu, wall = time.process_time(), time.monotonic()
    logs.ship_to(database, ensure_partitions)
    await logs.shipped()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(
        f"{logs.stats.shipped} rows of 2 x {body_bytes} bytes: {rows / wall:.0f} rows/s, {cpu / rows * 1e6:.1f} us each"
    )
    print(f"the reactor was held for {turns.longest_s * 1e3:.1f} ms at most, {turns.over_5_ms} times over 5 ms")
    await logs.close()
    await database.stop()
    shutil.rmtree(root)


def main(reactor: Any, rows: str = "20000", body_bytes: str = "2000") -> Deferred[None]:
    """See above."""
    return Deferred.fromCoroutine(measure(reactor, int(rows), int(body_bytes)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
