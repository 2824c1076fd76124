"""The stores that settings name."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.errors import ConfigurationError, StateUnavailable
from aigw.state.memory_cache import MemoryCache
from aigw.state.memory_counters import MemoryCounters
from aigw.state.redis_link import load_txredisapi
from aigw.state.settings import StateSettings, state_contradictions
from aigw.state.shared_cache import SharedCache
from aigw.state.shared_counters import SharedCounters
from aigw.state.stores import open_state
from aigw.storage.late import LateDatabase
from aigw.values.counting import Verdict
from tests.state.cache_contract import ANSWER, KEY, UNTIL_MS
from tests.state.counters_contract import NOW_MS, charge


class SettingsTests(SynchronousTestCase):
    """What an operator writes."""

    def test_contradictions(self) -> None:
        """Redis without its URL, or with a URL that is none, is refused with the key's name; the rest is accepted."""
        self.assertEqual(list(state_contradictions(StateSettings())), [])
        self.assertEqual(list(state_contradictions(StateSettings(store="redis", redis="redis://h"))), [])
        missing = list(state_contradictions(StateSettings(store="redis", cache="redis")))
        self.assertEqual([each.partition(":")[0] for each in missing], ["state.store", "state.cache"])
        (wrong,) = state_contradictions(StateSettings(redis="http://:fake@h"))
        self.assertTrue(wrong.startswith("state.redis: "))
        self.assertNotIn("fake", wrong)

    def test_not_installed(self) -> None:
        """Without the package for Redis the operator is told which one is missing."""

        def load(name: str) -> Any:
            raise ModuleNotFoundError(name)

        error = self.assertRaises(ConfigurationError, load_txredisapi, load)
        self.assertIn("pip install 'aigw[redis]'", str(error))


class StoresTests(TestCase):
    """What the settings make."""

    def open(self, **settings: Any) -> Any:
        """The stores, not started."""
        return open_state(StateSettings(**settings), reactor, LateDatabase(), lambda: NOW_MS, os.urandom)

    async def test_memory(self) -> None:
        """By default all is in memory; budgets wait for what was spent before, everything else serves at once."""
        state = self.open()
        state.start()
        self.assertIsInstance(state.counters, MemoryCounters)
        self.assertIs(state.to_rebuild, state.counters)
        self.assertEqual(state.counters.take([charge()]), Verdict(-1, (1,)))
        waits = self.assertFailure(state.counters.take([charge("spend:x")]), StateUnavailable)
        state.cache.put(KEY, ANSWER, UNTIL_MS)
        self.assertEqual(state.cache.get(KEY, NOW_MS), ANSWER)
        await state.stop()
        await waits

    async def test_postgresql(self) -> None:
        """In PostgreSQL nothing has to be rebuilt; while it is still being started, requests are told so at once."""
        state = self.open(store="postgresql", cache="postgresql")
        self.assertIsInstance(state.counters, SharedCounters)
        self.assertIsInstance(state.cache, SharedCache)
        self.assertIsNone(state.to_rebuild)
        state.start()
        self.assertRaises(StateUnavailable, state.counters.take, [charge()])
        self.assertRaises(StateUnavailable, state.cache.get, KEY, NOW_MS)
        state.cache.drop(KEY)
        await state.stop()

    async def test_mixed(self) -> None:
        """Counters may be shared while answers are kept by each process."""
        state = self.open(store="redis", redis="unix:///nowhere/redis.sock")
        self.assertIsInstance(state.counters, SharedCounters)
        self.assertIsInstance(state.cache, MemoryCache)
        await state.stop()

    def test_contradictions(self) -> None:
        """Settings that contradict each other make nothing."""
        self.assertRaises(ConfigurationError, self.open, cache="redis")
