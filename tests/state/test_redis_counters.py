"""Counters in Redis."""

from __future__ import annotations

import itertools
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.state.settings import StateSettings
from aigw.state.stores import open_state
from aigw.storage.late import LateDatabase
from aigw.testing.redis import redis_url
from aigw.values.counting import Charge, Verdict
from tests.state.counters_contract import HOUR_MS, NOW_MS, SharedCountersContract, charge
from tests.storage.own_server import until

_prefixes = (f"test-{os.getpid()}-{number}:" for number in itertools.count())


class RedisTestCase(TestCase):
    """Stores on a server that tests share; each test has keys of its own."""

    timeout = 60

    def setUp(self) -> None:
        """A prefix."""
        self.url = redis_url()
        self.prefix = next(_prefixes)

    async def open(self, now_ms: int = NOW_MS, **settings: Any) -> Any:
        """What the settings of a gateway make, in reach."""
        defaults = {"store": "redis", "redis": self.url, "redis_prefix": self.prefix, "deadline_s": 20.0}
        state = open_state(StateSettings(**defaults | settings), reactor, LateDatabase(), lambda: now_ms)
        self.addCleanup(lambda: Deferred.fromCoroutine(state.stop()))
        state.start()
        await until(lambda: state.counters.available and state.cache.available)
        return state


class ContractTests(SharedCountersContract, RedisTestCase):
    """What holds for all stores."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Two gateways on one server."""
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.others = [(await self.open()).counters, (await self.open()).counters]
        self.counters = self.others[0]

    async def keys(self, command: str, *words: Any) -> Any:
        """What the server says of the counter `k`."""
        return await self.counters._store._link.command(command, f"{self.prefix}count:k", *words)

    async def test_expiry(self) -> None:
        """A counter is gone when its last slot has expired, whichever slot was charged last."""
        await self.take(Charge("k", 2, 2, 1, 1, 9, NOW_MS + 2 * HOUR_MS))
        await self.take(Charge("k", 1, 1, 1, 1, 9, NOW_MS + HOUR_MS))
        left_ms = await self.keys("PTTL")
        self.assertGreater(left_ms, HOUR_MS)
        self.assertLessEqual(left_ms, 2 * HOUR_MS)

    async def test_expiry_of_what_is_corrected(self) -> None:
        """What only a correction has brought expires as well."""
        await self.settle(*[self.late_correction()])
        self.assertGreater(await self.keys("PTTL"), 0)

    def late_correction(self) -> Any:
        """A correction whose counter was lost."""
        from tests.state.counters_contract import correction

        return correction(3)

    async def test_old_slots_are_forgotten(self) -> None:
        """A counter in constant use does not grow."""
        for slot in range(100, 160):
            await self.take(charge(slot=slot, first=slot - 4))
        self.assertLessEqual(await self.keys("HLEN"), 11)

    async def test_forgotten_scripts(self) -> None:
        """A server that was told to forget its scripts is told them again; the request does not notice."""
        await self.take(charge())
        await self.counters._store._link.command("SCRIPT", "FLUSH")
        self.assertEqual(await self.take(charge()), Verdict(-1, (2,)))
