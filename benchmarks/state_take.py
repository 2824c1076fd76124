"""
What the memory stores cost a request: CPU of one `take` with 1 and with 5 charges, and of one cache look-up.

Run: python benchmarks/state_take.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.task import Clock

from aigw.state.memory_cache import MemoryCache
from aigw.state.memory_counters import MemoryCounters
from aigw.values.cached import CachedAnswer
from aigw.values.counting import Charge, Correction

ROUNDS = 200_000
LARGE = 10**15
NOW_MS = 1_800_000_000_000


def measure(name: str, call: Callable[[], object]) -> None:
    """Print the mean CPU of a call."""
    best = 1.0
    for _ in range(5):
        began = time.thread_time()
        for _ in range(ROUNDS):
            call()
        best = min(best, (time.thread_time() - began) / ROUNDS)
    print(f"{name:<40} {best * 1e6:6.2f} us")


def charges(count: int, slots: int) -> list[Charge]:
    """Charges for windows of so many slots."""
    slot = 5_000
    return [
        Charge(f"gw:local/default:{index}", slot, slot - slots + 1, 1, 1, LARGE, NOW_MS + 60_000)
        for index in range(count)
    ]


def main() -> None:
    """Measure and print."""
    counters = MemoryCounters(Clock(), lambda: NOW_MS)
    one, five, sliding = charges(1, 1), charges(5, 1), charges(1, 61)
    correction = [Correction(one[0].key, one[0].slot, 1, one[0].expires_ms)]
    measure("nothing", lambda: None)
    measure("take, 1 fixed window", lambda: counters.take(one))
    measure("take, 5 fixed windows", lambda: counters.take(five))
    for slot in range(sliding[0].first, sliding[0].slot):
        counters.settle([Correction(sliding[0].key, slot, 1, NOW_MS + 60_000)])
    measure("take, 1 sliding window of 61 slots", lambda: counters.take(sliding))
    measure("settle, 1 correction", lambda: counters.settle(correction))
    cache = MemoryCache()
    keys = [index.to_bytes(32, "big") for index in range(1_000)]
    for key in keys:
        cache.put(key, CachedAnswer(200, ((b"content-type", b"application/json"),), b"{}" * 500, 0, 0), NOW_MS + 1)
    measure("get, found", lambda: cache.get(keys[17], NOW_MS))
    measure("get, not found", lambda: cache.get(b"none", NOW_MS))


if __name__ == "__main__":
    main()
