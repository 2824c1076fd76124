"""Cached answers that several processes share: what is the same for PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import StateUnavailable
from aigw.interfaces import ICacheStore
from aigw.serving.patience import at_most
from aigw.state.deadlines import Deadlines
from aigw.state.probe import Probe
from aigw.state.settings import StateSettings
from aigw.values.cached import CachedAnswer


class CacheStore(Protocol):
    """A store of bytes that is asked over a connection. Its Deferreds fail with StateUnavailable without an answer."""

    @property
    def available(self) -> bool:
        """Whether the connection stands."""

    def get(self, key: bytes) -> Deferred[bytes | None]:
        """What is there, perhaps a little longer than it was to be."""

    def put(self, key: bytes, value: bytes, kept_until_ms: int) -> Deferred[Any]:
        """Keep a value, in place of what was there."""

    def drop(self, key: bytes) -> Deferred[Any]:
        """Forget a value."""

    def probe(self) -> Deferred[Any]:
        """Fires when the store answers anything."""

    def start(self) -> None:
        """Connect, and begin what is done in the background."""

    async def stop(self) -> None:
        """End that."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """
    What stands in a store.

    Attributes:
        kept_until_ms: As in `ICacheStore.put`.
        answer: See there.
    """

    kept_until_ms: int
    answer: CachedAnswer


@implementer(ICacheStore)
class SharedCache:
    """
    Asks a store, and waits for its answers for a bounded time; what is kept goes there without anybody waiting.

    Args:
        store: Where the bytes are.
        clock: For deadlines.
        settings: See there; `deadline_s`, `waiting`, `cache_object_bytes` and `cache_waiting_bytes` matter here.

    Attributes:
        hits, misses: Look-ups that found something, and that did not.
        dropped: Answers that were not kept: too large, too many on their way, or the store refused them.
        unreadable: Answers that another release had kept in another form; they count as misses, too.
    """

    _log = Logger()

    def __init__(self, store: CacheStore, clock: Any, settings: StateSettings) -> None:
        self.hits = self.misses = self.dropped = self.unreadable = 0
        self._store = store
        self._object_bytes = settings.cache_object_bytes
        self._free_bytes = settings.cache_waiting_bytes
        self._writing = 0
        self._turns: dict[bytes, DeferredLock] = {}
        self._awaiting: list[Deferred[None]] = []
        self._clock = clock
        self._deadline_s = settings.deadline_s
        self._deadlines = Deadlines(clock, settings.deadline_s, settings.waiting)
        self._probe = Probe(clock, self._deadlines, store.probe)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Kept)

    @property
    def available(self) -> bool:
        """See `ICacheStore`."""
        return self._store.available and not self._deadlines.silent

    @property
    def late(self) -> int:
        """Look-ups without an answer in time."""
        return self._deadlines.late

    @property
    def turned_away(self) -> int:
        """Look-ups that were not made: the store was out of reach, or too many waited."""
        return self._deadlines.turned_away

    def start(self) -> None:
        """Connect; the store need not be there."""
        self._store.start()
        self._probe.start()

    async def stop(self) -> None:
        """Wait for answers that are on their way, if the store takes them in time, and close."""
        await at_most(self._clock, self.when_written(), self._deadline_s if self.available else 0)
        self._probe.stop()
        self._deadlines.stop()
        await self._store.stop()

    def get(self, key: bytes, now_ms: int) -> CachedAnswer | Deferred[CachedAnswer | None] | None:
        """See `ICacheStore`."""
        self._deadlines.admit(self.available)
        return self._deadlines.bound(self._store.get(key)).addCallback(self._read, now_ms)

    def put(self, key: bytes, answer: CachedAnswer, kept_until_ms: int) -> None:
        """See `ICacheStore`."""
        if len(answer.body) > self._object_bytes or not self.available:
            self.dropped += 1
            return
        value = self._encoder.encode(Kept(kept_until_ms, answer))
        size = len(value)
        if size > self._free_bytes:
            self.dropped += 1
            return
        self._free_bytes -= size
        self._writing += 1
        self._write(key, self._store.put, value, kept_until_ms).addBoth(self._put, size)

    def drop(self, key: bytes) -> None:
        """See `ICacheStore`."""
        self._writing += 1
        self._write(key, self._store.drop).addBoth(self._dropped)

    def when_written(self) -> Deferred[None]:
        """Fires when everything that was kept or dropped is, or has failed."""
        written: Deferred[None] = Deferred()
        self._awaiting.append(written)
        self._written(0)
        return written

    def _read(self, value: bytes | None, now_ms: int) -> CachedAnswer | None:
        kept = None
        if value is not None:
            try:
                kept = self._decoder.decode(value)
            except msgspec.DecodeError:
                self.unreadable += 1
        if kept is None or kept.kept_until_ms <= now_ms:
            self.misses += 1
            return None
        self.hits += 1
        return kept.answer

    def _write(self, key: bytes, write: Callable[..., Deferred[Any]], *parameters: Any) -> Deferred[Any]:
        """What is written of a key goes out one after the other: the store may have several connections."""
        turns = self._turns.setdefault(key, DeferredLock())
        written: Deferred[Any] = turns.run(write, key, *parameters)
        return written.addBoth(self._next, key, turns)

    def _next(self, result: Any, key: bytes, turns: DeferredLock) -> Any:
        if not turns.locked:
            del self._turns[key]
        return result

    def _put(self, result: Any, size: int) -> None:
        self._free_bytes += size
        if isinstance(result, Failure):
            self.dropped += 1
        self._dropped(result)

    def _dropped(self, result: Any) -> None:
        if isinstance(result, Failure) and result.check(StateUnavailable) is None:
            self._log.failure("A defect in keeping answers", result)
        self._written(1)

    def _written(self, count: int) -> None:
        self._writing -= count
        if not self._writing:
            awaiting, self._awaiting = self._awaiting, []
            for each in awaiting:
                each.callback(None)
