"""What an operator sets about counters and cached answers: where they are kept, and how much of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aigw.errors import ConfigurationError
from aigw.state.redis_address import read_redis_url

Where = Literal["memory", "postgresql", "redis"]
Count = Annotated[int, Meta(ge=1)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class StateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Where requests are counted and answers are cached.

    Attributes:
        store: Where limits and budgets are counted. `memory` belongs to one process; several processes that share their
            limits need `redis` or `postgresql`.
        cache: Where cached answers are kept, with the same choice.
        redis: URL of a Redis 6.2 or later: `redis://user:password@host:6379/0`, `rediss://` with TLS, or
            `unix:///run/redis.sock?db=0`. It needs the package `aigw[redis]`. A Redis that does not write to its disk
            (`appendonly yes`) has forgotten all budgets after a restart.
        redis_prefix: What every key in Redis begins with.
        redis_trust_roots: A PEM file with the authorities that may have signed the certificate of a `rediss://` server,
            instead of the system's; empty for those.
        deadline_s: Seconds that PostgreSQL or Redis has for an answer; then a control does what it is set to do without
            its counters.
        waiting: Questions that may wait for an answer of PostgreSQL or Redis; one more is turned away at once.
        corrections: Counters that may wait to be corrected while PostgreSQL or Redis is away; more are dropped and
            counted.
        counters: Most counters held in `memory`, each part of a sliding window being one, and half of them for one
            rule; a full store turns new ones away until others expire.
        rebuild_wait_s: Seconds that a request waits, after a start, for its budgets to be read from the database.
        cache_bytes: Most bytes of cached answers in `memory` or `postgresql`; Redis has its own `maxmemory`.
        cache_object_bytes: Most bytes of one cached answer; a larger one is not kept.
        cache_waiting_bytes: Most bytes of answers on their way to PostgreSQL or Redis; more are not kept.
    """

    store: Where = "memory"
    cache: Where = "memory"
    redis: str | None = None
    redis_prefix: str = "aigw:"
    redis_trust_roots: str = ""
    deadline_s: PositiveSeconds = 1.0
    waiting: Count = 10_000
    corrections: Count = 100_000
    counters: Count = 200_000
    rebuild_wait_s: PositiveSeconds = 5.0
    cache_bytes: Annotated[int, Meta(ge=0)] = 268_435_456
    cache_object_bytes: Count = 26_214_400
    cache_waiting_bytes: Count = 67_108_864


def state_contradictions(settings: StateSettings) -> Iterator[str]:
    """
    What cannot hold together, each text with its key path.

    Args:
        settings: Of which each is right by itself.
    """
    for key in ("store", "cache"):
        if getattr(settings, key) == "redis" and settings.redis is None:
            yield f"state.{key}: `redis` needs the server's URL in state.redis"
    if settings.redis is not None:
        try:
            read_redis_url(settings.redis)
        except ConfigurationError as error:
            yield from error.problems
