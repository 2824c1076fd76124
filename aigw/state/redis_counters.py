"""Counters in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from aigw.errors import StateUnavailable
from aigw.state.redis_link import RedisLink
from aigw.state.redis_scripts import READ, SETTLE, TAKE
from aigw.state.settling import Batch
from aigw.state.shared_counters import bounded
from aigw.values.counting import Charge, Verdict

# Longer than any batch can be under way.
WRITER_MS = 86_400_000


class RedisCounters:
    """
    A `CounterStore`.

    Args:
        link: To the server.
        prefix: What every key begins with.
    """

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = f"{prefix}count:"
        self._writers = f"{prefix}writer:".encode()

    @property
    def available(self) -> bool:
        """See `CounterStore`."""
        return self._link.available

    def start(self) -> None:
        """See `CounterStore`."""
        self._link.start()

    async def stop(self) -> None:
        """See `CounterStore`."""
        await self._link.stop()

    def take(self, charges: Sequence[Charge]) -> Deferred[Verdict]:
        """See `CounterStore`."""
        arguments: list[int] = []
        for each in charges:
            amount, need, limit = bounded(each.amount), bounded(each.need), bounded(each.limit)
            arguments += (each.slot, each.first, amount, need, limit, each.expires_ms)
        return self._link.script(TAKE, [self._key(each.key) for each in charges], arguments).addCallback(_verdict)

    def read(self, charges: Sequence[Charge]) -> Deferred[tuple[int, ...]]:
        """See `CounterStore`."""
        arguments: list[int] = []
        for each in charges:
            arguments += (each.slot, each.first)
        return self._link.script(READ, [self._key(each.key) for each in charges], arguments).addCallback(tuple)

    def settle(self, batch: Batch) -> Deferred[None]:
        """See `CounterStore`."""
        arguments: list[int] = [batch.number, WRITER_MS]
        for each in batch.corrections:
            arguments += (each.slot, bounded(each.delta), each.expires_ms)
        keys = [self._writers + batch.writer.hex().encode(), *(self._key(each.key) for each in batch.corrections)]
        return self._link.script(SETTLE, keys, arguments).addCallback(_done)

    def probe(self) -> Deferred[Any]:
        """See `CounterStore`."""
        return self._link.command("PING")

    def _key(self, name: str) -> bytes:
        # A name may hold what a caller sent, lone surrogates included.
        return (self._prefix + name).encode("utf-8", "surrogatepass")


def _verdict(answer: Any) -> Verdict:
    if not isinstance(answer, list):
        raise StateUnavailable("Redis: no answer of the script")
    return Verdict(answer[0], tuple(answer[2:]), answer[1])


def _done(_: Any) -> None:
    return None
