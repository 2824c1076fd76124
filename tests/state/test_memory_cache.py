"""Cached answers of one process."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.state.memory_cache import MemoryCache, size_of
from aigw.state.settings import StateSettings
from aigw.values.cached import CachedAnswer
from aigw.values.usage import Usage
from tests.state.cache_contract import KEY, UNTIL_MS, CacheContract, answer
from tests.state.counters_contract import NOW_MS


def numbered(n: int) -> bytes:
    """A key."""
    return n.to_bytes(32, "big")


class ContractTests(CacheContract, TestCase):
    """What holds for all stores."""

    def setUp(self) -> None:
        """A store."""
        self.cache = MemoryCache()
        self.others = (self.cache, self.cache)


class BoundTests(SynchronousTestCase):
    """How much a store holds."""

    def test_oldest_leaves(self) -> None:
        """A full store forgets what was not asked for longest, and counts that."""
        one = answer(b"x" * 1_000)
        cache = MemoryCache(StateSettings(cache_bytes=3 * size_of(one)))
        for n in range(3):
            cache.put(numbered(n), one, UNTIL_MS)
        self.assertEqual(cache.held_bytes, 3 * size_of(one))
        cache.get(numbered(0), NOW_MS)
        cache.put(numbered(3), one, UNTIL_MS)
        self.assertEqual([n for n in range(4) if cache.get(numbered(n), NOW_MS)], [0, 2, 3])
        self.assertEqual((cache.evictions, cache.held_bytes), (1, 3 * size_of(one)))

    def test_one_large_answer(self) -> None:
        """An answer that takes the room of many makes them leave; one larger than the store makes none leave."""
        small, large = answer(b""), answer(b"x" * 10_000)
        cache = MemoryCache(StateSettings(cache_bytes=size_of(large)))
        for n in range(5):
            cache.put(numbered(n), small, UNTIL_MS)
        cache.put(numbered(9), answer(b"x" * 10_001), UNTIL_MS)
        self.assertEqual((cache.dropped, cache.evictions, len(cache)), (1, 0, 5))
        cache.put(numbered(9), large, UNTIL_MS)
        self.assertEqual((cache.evictions, len(cache), cache.held_bytes), (5, 1, size_of(large)))

    def test_no_room_at_all(self) -> None:
        """With `cache_bytes = 0` nothing is kept."""
        cache = MemoryCache(StateSettings(cache_bytes=0))
        cache.put(KEY, answer(b""), UNTIL_MS)
        self.assertIsNone(cache.get(KEY, NOW_MS))
        self.assertEqual(cache.held_bytes, 0)

    def test_room_is_given_back(self) -> None:
        """Whatever leaves, replaced, dropped or expired, leaves its room."""
        cache = MemoryCache()
        cache.put(KEY, answer(b"x" * 1_000), UNTIL_MS)
        cache.put(KEY, answer(b"x"), UNTIL_MS)
        self.assertEqual(cache.held_bytes, size_of(answer(b"x")))
        cache.get(KEY, UNTIL_MS)
        self.assertEqual((cache.held_bytes, len(cache)), (0, 0))
        cache.put(KEY, answer(b"x"), UNTIL_MS)
        cache.put(KEY, answer(b"x" * (26_214_400 + 1)), UNTIL_MS)
        self.assertEqual((cache.held_bytes, len(cache)), (0, 0))

    def test_true_size(self) -> None:
        """What the store believes to hold is what the process gives for it, to a fifth."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        cache = MemoryCache()
        before = tracemalloc.get_traced_memory()[0]
        for n in range(1_000):
            headers = tuple((b"x-header-%d" % i, b"value %d" % (n + i)) for i in range(4))
            made = CachedAnswer(
                200, headers, b"%d" % n * 50, NOW_MS + n, UNTIL_MS + n, f"m{n}", Usage(n, n), f"log {n}"
            )
            cache.put(numbered(n), made, UNTIL_MS + n)
        real = tracemalloc.get_traced_memory()[0] - before
        self.assertLess(abs(cache.held_bytes - real), real / 5, (cache.held_bytes, real))
