"""Counters in Redis."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from aigw.values.counting import Charge, Verdict
from tests.state.counters_contract import HOUR_MS, NOW_MS, SharedCountersContract, charge, correction
from tests.state.redis_case import RedisTestCase


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
        await self.settle(correction(3))
        self.assertGreater(await self.keys("PTTL"), 0)

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
