"""Stores on the Redis that all tests of a process share."""

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
from tests.state.counters_contract import NOW_MS
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
