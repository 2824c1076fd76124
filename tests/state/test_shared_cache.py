"""Cached answers on their way to a store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import StateUnavailable
from aigw.state.settings import StateSettings
from aigw.state.shared_cache import SharedCache
from tests.state.cache_contract import ANSWER, KEY, OTHER, UNTIL_MS, answer


class SlowStore:
    """A store that answers when the test says so."""

    available = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.answers: list[Deferred[Any]] = []

    def put(self, key: bytes, value: bytes, kept_until_ms: int) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._ask("put", key)

    def drop(self, key: bytes) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._ask("drop", key)

    def probe(self) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._ask("probe", b"")

    def _ask(self, what: str, key: bytes) -> Deferred[Any]:
        self.asked.append((what, key))
        self.answers.append(Deferred())
        return self.answers[-1]


class OrderTests(SynchronousTestCase):
    def test_one_key(self) -> None:
        """What is written of a key goes out one after the other, also after a failure; other keys do not wait."""
        store: Any = SlowStore()
        cache = SharedCache(store, Clock(), StateSettings())
        cache.put(KEY, ANSWER, UNTIL_MS)
        cache.put(KEY, answer(b"newer"), UNTIL_MS)
        cache.drop(KEY)
        cache.put(OTHER, ANSWER, UNTIL_MS)
        written = cache.when_written()
        self.assertEqual(store.asked, [("put", KEY), ("put", OTHER)])
        store.answers[0].errback(StateUnavailable("gone"))
        self.assertEqual(store.asked[2:], [("put", KEY)])
        store.answers[2].callback(None)
        self.assertEqual(store.asked[3:], [("drop", KEY)])
        store.answers[1].callback(None)
        self.assertNoResult(written)
        store.answers[3].callback(None)
        self.successResultOf(written)
        self.assertEqual((cache.dropped, cache._turns), (1, {}))
