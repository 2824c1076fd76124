"""Cached answers of one process."""

from __future__ import annotations

from collections import OrderedDict

from zope.interface import implementer

from aigw.interfaces import ICacheStore
from aigw.state.settings import StateSettings
from aigw.values.cached import CachedAnswer

# What CPython takes beside the bytes themselves: the entry with its key, place and numbers, and each header's pair.
ENTRY_BYTES = 700
HEADER_BYTES = 128


def size_of(answer: CachedAnswer) -> int:
    """Bytes of memory that an answer takes, its place in the cache included."""
    headers = sum(len(name) + len(value) + HEADER_BYTES for name, value in answer.headers)
    return ENTRY_BYTES + len(answer.body) + headers + len(answer.model) + len(answer.log_id)


@implementer(ICacheStore)
class MemoryCache:
    """
    Forgets first what was not asked for longest.

    Args:
        settings: `cache_bytes` and `cache_object_bytes` matter here.

    Attributes:
        available: Always true.
        held_bytes: What the kept answers take.
        hits, misses: Look-ups that found something, and that did not.
        evictions: Answers that made room for others.
        dropped: Answers that were too large to be kept.
    """

    def __init__(self, settings: StateSettings | None = None) -> None:
        settings = settings or StateSettings()
        self.available = True
        self.held_bytes = self.hits = self.misses = self.evictions = self.dropped = 0
        self._most_bytes = settings.cache_bytes
        self._object_bytes = settings.cache_object_bytes
        self._entries: OrderedDict[bytes, tuple[CachedAnswer, int, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are held."""
        return len(self._entries)

    def get(self, key: bytes, now_ms: int) -> CachedAnswer | None:
        """See `ICacheStore`."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        if entry[1] <= now_ms:
            self.drop(key)
            self.misses += 1
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry[0]

    def put(self, key: bytes, answer: CachedAnswer, kept_until_ms: int) -> None:
        """See `ICacheStore`."""
        self.drop(key)
        size = size_of(answer)
        if len(answer.body) > self._object_bytes or size > self._most_bytes:
            self.dropped += 1
            return
        self._entries[key] = (answer, kept_until_ms, size)
        self.held_bytes += size
        while self.held_bytes > self._most_bytes:
            self.held_bytes -= self._entries.popitem(last=False)[1][2]
            self.evictions += 1

    def drop(self, key: bytes) -> None:
        """See `ICacheStore`."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.held_bytes -= entry[2]
