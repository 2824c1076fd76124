"""Cached answers in Redis; how many is for its `maxmemory` to say."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from aigw.state.redis_link import RedisLink


class RedisCache:
    """
    A `CacheStore`.

    Args:
        link: To the server; not the one of the counters, for an answer of some megabytes would hold them up.
        prefix: What every key begins with.
    """

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = f"{prefix}answer:".encode()

    @property
    def available(self) -> bool:
        """See `CacheStore`."""
        return self._link.available

    def start(self) -> None:
        """See `CacheStore`."""
        self._link.start()

    async def stop(self) -> None:
        """See `CacheStore`."""
        await self._link.stop()

    def get(self, key: bytes) -> Deferred[bytes | None]:
        """See `CacheStore`."""
        return self._link.command("GET", self._prefix + key)

    def put(self, key: bytes, value: bytes, kept_until_ms: int) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._link.command("SET", self._prefix + key, value, "PXAT", kept_until_ms)

    def drop(self, key: bytes) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._link.command("DEL", self._prefix + key)

    def probe(self) -> Deferred[Any]:
        """See `CacheStore`."""
        return self._link.command("PING")
