"""What holds for cached answers, wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from aigw.interfaces import ICacheStore
from aigw.values.cached import CachedAnswer
from aigw.values.usage import Usage
from tests.state.counters_contract import HOUR_MS, NOW_MS

KEY = sha256(b"one").digest()
OTHER = sha256(b"other").digest()
UNTIL_MS = NOW_MS + HOUR_MS

ANSWER = CachedAnswer(
    200,
    ((b"content-type", b"application/json"), (b"x-odd", b"\xff\x00\r")),
    b'{"id":1}',
    NOW_MS,
    NOW_MS + 1_000,
    "gpt-4o-mini",
    Usage(40, 60, cache_read=7, estimated=True),
    "0197a1b2-0000-7000-8000-000000000001",
)


def answer(body: bytes) -> CachedAnswer:
    """Another one with this body."""
    return msgspec.structs.replace(ANSWER, body=body)


class CacheContract:
    """
    Mixed into a `TestCase` that has `cache`: a store, in reach, and `others`: two that share its server; a store of one
    process stands for all three.
    """

    cache: Any
    others: Sequence[Any]

    async def get(self, key: bytes = KEY, now_ms: int = NOW_MS) -> CachedAnswer | None:
        """What is found."""
        found: CachedAnswer | None = await maybeDeferred(self.cache.get, key, now_ms)
        return found

    async def written(self) -> None:
        """Wait until everything is where it is to be kept; in one process it is at once."""

    def test_interface(self) -> None:
        """The store offers what controls ask of it, and is ready."""
        verifyObject(ICacheStore, self.cache)  # type: ignore[arg-type]  # mypy-zope wants the class itself
        self.assertTrue(self.cache.available)  # type: ignore[attr-defined]

    async def test_found(self) -> None:
        """An answer comes back as it was, in every field; another key finds nothing; both are counted."""
        self.assertIsNone(await self.get())
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        await self.written()
        self.assertEqual(await self.get(), ANSWER)
        self.assertIsNone(await self.get(OTHER))
        self.assertEqual((self.cache.hits, self.cache.misses), (1, 2))

    async def test_bodies(self) -> None:
        """A body may be any bytes, none, or as many as the settings allow."""
        bodies = (b"", bytes(range(256)), b"\r\n$3\r\n", b"\xff" * (8 * 1024**2), b"12", b"1.5")
        for body in bodies:
            self.cache.put(KEY, answer(body), UNTIL_MS)
            await self.written()
            found = await self.get()
            self.assertTrue(found is not None and found.body == body, body[:20])

    async def test_any_key(self) -> None:
        """Keys are any 32 bytes."""
        keys = (bytes(32), b"\xff" * 32, b"\r\n" * 16, b"'\\%s{}:1 \0" * 3 + b"ab")
        for n, key in enumerate(keys):
            self.cache.put(key, answer(b"%d" % n), UNTIL_MS)
        await self.written()
        found = [await self.get(key) for key in keys]
        self.assertEqual([each and each.body for each in found], [b"0", b"1", b"2", b"3"])

    async def test_replaced(self) -> None:
        """A newer answer takes the place of the older one."""
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        for n in range(10):
            self.cache.put(KEY, answer(b"newer %d" % n), UNTIL_MS)
        await self.written()
        self.assertEqual(await self.get(), answer(b"newer 9"))
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        self.cache.drop(KEY)
        await self.written()
        self.assertIsNone(await self.get())

    async def test_time_is_over(self) -> None:
        """An answer is found until the moment up to which it is kept, and from then on not."""
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        await self.written()
        self.assertEqual(await self.get(now_ms=UNTIL_MS - 1), ANSWER)
        self.assertIsNone(await self.get(now_ms=UNTIL_MS))

    async def test_dropped(self) -> None:
        """What was dropped is not found; dropping what is not there does nothing."""
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        self.cache.put(OTHER, ANSWER, UNTIL_MS)
        await self.written()
        for _ in range(2):
            self.cache.drop(KEY)
        await self.written()
        self.assertIsNone(await self.get())
        self.assertEqual(await self.get(OTHER), ANSWER)

    async def test_too_large(self) -> None:
        """An answer beyond `cache_object_bytes` is not kept, which is counted."""
        self.cache.put(KEY, answer(b"x" * (26_214_400 + 1)), UNTIL_MS)
        await self.written()
        self.assertIsNone(await self.get())
        self.assertEqual(self.cache.dropped, 1)

    async def test_shared(self) -> None:
        """What one gateway keeps, all find; what one drops, none does."""
        self.others[0].put(KEY, ANSWER, UNTIL_MS)
        await self.written()
        self.assertEqual(await maybeDeferred(self.others[1].get, KEY, NOW_MS), ANSWER)
        self.others[1].drop(KEY)
        await self.written()
        self.assertIsNone(await maybeDeferred(self.others[0].get, KEY, NOW_MS))


class SharedCacheContract(CacheContract):
    """For stores with a server."""

    async def written(self) -> None:
        """See `CacheContract`."""
        for each in self.others:
            await each.when_written()

    async def test_too_many_on_their_way(self) -> None:
        """Answers that come faster than the store takes them are not kept, which is counted."""
        for n in range(10):
            self.cache.put(bytes([n]) * 32, answer(b"x" * 10 * 1024**2), UNTIL_MS)
        await self.written()
        self.assertEqual(self.cache.dropped, 4)

    async def test_unreadable(self) -> None:
        """What another release has kept in another form is not found, and replaced."""
        for value in (b"", b"\xc1", b"\x93\x01\x02\x03"):
            await self.cache._store.put(KEY, value, UNTIL_MS)
            self.assertIsNone(await self.get())
        self.assertEqual((self.cache.unreadable, self.cache.misses), (3, 3))
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        await self.written()
        self.assertEqual(await self.get(), ANSWER)
