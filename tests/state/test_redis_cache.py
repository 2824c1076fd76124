"""Cached answers in Redis."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.state.cache_contract import ANSWER, KEY, UNTIL_MS, SharedCacheContract
from tests.state.counters_contract import HOUR_MS
from tests.state.redis_case import RedisTestCase


class ContractTests(SharedCacheContract, RedisTestCase):
    """What holds for all stores."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Two gateways on one server."""
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.others = [(await self.open(cache="redis")).cache for _ in range(2)]
        self.cache = self.others[0]

    async def test_redis_forgets(self) -> None:
        """Redis itself forgets an answer when its time is over."""
        self.cache.put(KEY, ANSWER, UNTIL_MS)
        await self.written()
        left_ms = await self.cache._store._link.command("PTTL", f"{self.prefix}answer:".encode() + KEY)
        self.assertGreater(left_ms, 0)
        self.assertLessEqual(left_ms, HOUR_MS)
