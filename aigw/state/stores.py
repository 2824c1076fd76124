"""Opens the stores that the settings name."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from aigw.errors import ConfigurationError
from aigw.interfaces import IDatabase
from aigw.state.memory_cache import MemoryCache
from aigw.state.memory_counters import REBUILT_PREFIX, MemoryCounters
from aigw.state.postgres_cache import PostgresCache
from aigw.state.postgres_counters import PostgresCounters
from aigw.state.redis_address import read_redis_url
from aigw.state.redis_cache import RedisCache
from aigw.state.redis_counters import RedisCounters
from aigw.state.redis_link import CONNECT_S, RedisLink, load_txredisapi
from aigw.state.settings import StateSettings, state_contradictions
from aigw.state.settling import WRITER_BYTES
from aigw.state.shared_cache import CacheStore, SharedCache
from aigw.state.shared_counters import CounterStore, SharedCounters


@attrs.frozen
class State:
    """
    What requests are counted in and answered from.

    Attributes:
        counters: See `ICounters`.
        cache: See `ICacheStore`.
        to_rebuild: The counters again, where they have forgotten what was spent before the process began: to be given
            that by `load`, and then `rebuilt`. None where they outlive the process.
    """

    counters: MemoryCounters | SharedCounters
    cache: MemoryCache | SharedCache
    to_rebuild: MemoryCounters | None

    def start(self) -> None:
        """Connect, and begin what is done in the background. No store has to be in reach."""
        self.counters.start()
        if isinstance(self.cache, SharedCache):
            self.cache.start()

    def away(self) -> list[str]:
        """The stores on other machines that do not answer now."""
        away = []
        if isinstance(self.counters, SharedCounters) and not self.counters.available:
            away.append("counters")
        if isinstance(self.cache, SharedCache) and not self.cache.available:
            away.append("cache")
        return away

    async def stop(self) -> None:
        """Send the last corrections, and close; to be done before the database is closed."""
        if isinstance(self.cache, SharedCache):
            await self.cache.stop()
        stopped: Awaitable[None] | None = self.counters.stop()
        if stopped is not None:
            await stopped


def open_state(
    settings: StateSettings,
    reactor: Any,
    database: IDatabase,
    now_ms: Callable[[], int],
    entropy: Callable[[int], bytes] = os.urandom,
    sweeps: bool = True,
) -> State:
    """
    Make the stores; `State.start` connects them.

    Args:
        settings: Which, and their bounds.
        reactor: Sockets, clock and name resolver.
        database: For `postgresql`; may still be out of reach.
        now_ms: UTC, milliseconds since the epoch.
        entropy: Makes random bytes.
        sweeps: Whether to remove what has expired in PostgreSQL; of several processes one is enough.
    Raises:
        ConfigurationError: The settings contradict each other, or name what is not installed.
    """
    problems = list(state_contradictions(settings))
    if problems:
        raise ConfigurationError(problems)
    counters: MemoryCounters | SharedCounters
    if settings.store == "memory":
        counters = MemoryCounters(reactor, now_ms, settings, REBUILT_PREFIX)
    else:
        store: CounterStore = (
            RedisCounters(_link(settings, reactor), settings.redis_prefix)
            if settings.store == "redis"
            else PostgresCounters(database, reactor, now_ms, sweeps)
        )
        counters = SharedCounters(store, reactor, now_ms, settings, entropy(WRITER_BYTES))
    cache: MemoryCache | SharedCache
    if settings.cache == "memory":
        cache = MemoryCache(settings)
    else:
        answers: CacheStore = (
            RedisCache(_link(settings, reactor), settings.redis_prefix)
            if settings.cache == "redis"
            else PostgresCache(database, reactor, now_ms, settings.cache_bytes, sweeps)
        )
        cache = SharedCache(answers, reactor, settings)
    return State(counters, cache, counters if isinstance(counters, MemoryCounters) else None)


def _link(settings: StateSettings, reactor: Any) -> RedisLink:
    address = read_redis_url(settings.redis or "")
    endpoint = address.endpoint(reactor, CONNECT_S, settings.redis_trust_roots)
    return RedisLink(reactor, address, endpoint, load_txredisapi(), settings.waiting)
