"""Stage 6: answers that are given again instead of asking the provider."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.controls.cache_key import CacheKeys, custom_key
from aigw.controls.semantic_question import ANSWERABLE
from aigw.controls.visit import Visit
from aigw.errors import StateUnavailable
from aigw.interfaces import ICacheStore
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers
from aigw.values.usage import Usage

LEAST_TTL_S = 60
# One month.
MOST_TTL_S = 2_678_400
# Of a custom key that comes without a TTL, on a gateway that has none.
CUSTOM_TTL_S = 300
OBJECT_BYTES = 25 * 1024 * 1024

# What a kept answer says of itself. The rest belongs to the call that made it: request ids, rate limits, cookies.
_KEPT_HEADERS = frozenset((b"content-type", b"content-language", b"content-disposition"))
_EVENT_STREAM = b"text/event-stream"
_TYPES = (b"text/", b"image/", b"audio/", b"application/json", b"application/x-ndjson", b"application/jsonl")


class CachePlan(msgspec.Struct, frozen=True, gc=False):
    """
    How one step uses the cache.

    Attributes:
        key: 32 bytes.
        ttl_s: For how long its answer is fresh.
        stale_s: For how long beyond that it is given when the provider fails.
        shared: Whether identical requests in flight share one call.
        custom: Whether the caller named the key, so that another provider may have made the answer.
        semantic: Whether the answer to a question that means the same will do.
    """

    key: bytes
    ttl_s: int
    stale_s: int
    shared: bool
    custom: bool
    semantic: bool = False


class Found(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        answer: Out of the cache.
        stale: Whether it may be given only when the provider fails.
    """

    answer: CachedAnswer
    stale: bool


class Made(msgspec.Struct, frozen=True, gc=False):
    """
    What is known of the call that made an answer.

    Attributes:
        model, usage, log_id: As in `CachedAnswer`.
    """

    model: str = ""
    usage: Usage | None = None
    log_id: str = ""


@attrs.define
class CacheCounts:
    """
    What the cache has done so far.

    Attributes:
        hits, stale, misses: Look-ups by what they found; what is stale and not given counts as stale all the same.
        unavailable: Look-ups that a store did not answer; each is a miss for its request.
        stored: Answers that were handed to the store.
        unfit: Complete answers that are not kept: an error, too large, or of a kind that is not kept.
    """

    hits: int = 0
    stale: int = 0
    misses: int = 0
    unavailable: int = 0
    stored: int = 0
    unfit: int = 0


class Cache:
    """
    The rules of the cache, over whatever keeps the answers.

    Args:
        store: See there.
        utc_ms: Milliseconds since the epoch.
        object_bytes: The largest body that is kept.

    Attributes:
        counts: See there.
        keys: Makes its keys.
    """

    def __init__(self, store: ICacheStore, utc_ms: Callable[[], int], object_bytes: int = OBJECT_BYTES) -> None:
        self._store = store
        self._utc_ms = utc_ms
        self._object_bytes = object_bytes
        self.counts = CacheCounts()
        self.keys = CacheKeys()

    def plan(self, visit: Visit, version: int) -> CachePlan | None:
        """
        Whether and how a step uses the cache.

        Args:
            visit: See there.
            version: Of the gateway's settings, a number that grows with each change.
        Returns:
            None when the step is neither looked up nor stored.
        """
        gateway, settings = visit.gateway, visit.settings
        if not (settings or gateway.cache_ttl or gateway.semantic_cache) or not may_cache(visit):
            return None
        asked_s = asked_ttl_s(visit)
        name = settings.get(b"cf-aig-cache-key", b"").strip()
        semantic = gateway.semantic_cache if not name and visit.target.model_type in ANSWERABLE else None
        ttl_s = gateway.cache_ttl or (semantic.ttl if semantic else 0)
        if asked_s is not None and (ttl_s or name or gateway.cache_without_ttl):
            ttl_s = asked_s
        elif name and not ttl_s:
            ttl_s = CUSTOM_TTL_S
        if not ttl_s:
            return None
        key = custom_key(visit, name, version) if name else self.keys.of_request(visit, version)
        return CachePlan(
            *(key, _in_range(ttl_s), gateway.cache_stale_if_error, gateway.cache_single_flight),
            custom=bool(name),
            semantic=semantic is not None,
        )

    def look_up(self, plan: CachePlan, now_ms: int) -> Found | Deferred[Found | None] | None:
        """
        The answer that is kept for a step.

        Args:
            plan: Of `plan`.
            now_ms: UTC, milliseconds since the epoch.
        Returns:
            None for a miss, also when the store does not answer; a Deferred where the store is shared. A stale answer
            is for the moment when every step has failed.
        """
        try:
            kept = self._store.get(plan.key, now_ms)
        except StateUnavailable:
            self.counts.unavailable += 1
            return None
        if isinstance(kept, Deferred):
            return kept.addCallbacks(partial(self._judge, plan, now_ms), self._unavailable)
        return self._judge(plan, now_ms, kept)

    def _judge(self, plan: CachePlan, now_ms: int, answer: CachedAnswer | None) -> Found | None:
        counts = self.counts
        if answer is not None and now_ms < answer.fresh_until_ms:
            counts.hits += 1
            return Found(answer, False)
        # The owner may allow less by now than when it was stored.
        if answer is not None and now_ms < answer.fresh_until_ms + plan.stale_s * 1000:
            counts.stale += 1
            return Found(answer, True)
        counts.misses += 1
        return None

    def _unavailable(self, failure: Failure) -> None:
        failure.trap(StateUnavailable)
        self.counts.unavailable += 1

    def takes(self, status: int, headers: Headers) -> bool:
        """Whether an answer with this head may be kept once it is whole."""
        if not 200 <= status < 300 or status == 206:
            return False
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value.lower()
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                # Nobody asked for a coding, and the next client may not be able to undo it.
                return False
            elif name == b"content-length" and (not value.isdigit() or int(value) > self._object_bytes):
                return False
        media_type = content_type.partition(b";")[0].strip()
        return media_type.startswith(_TYPES) or media_type.endswith(b"+json")

    def offer(self, plan: CachePlan, status: int, headers: Headers, body: bytes, made: Made) -> CachedAnswer | None:
        """
        Keep an answer, if it is of a kind that is kept.

        Args:
            plan: Of the step that asked.
            status, headers: As the provider told them.
            body: Complete, and no error, as whoever read along has seen.
            made: Of the call.
        Returns:
            The answer as it is kept; None when it is not.
        """
        if len(body) > self._object_bytes or not self.takes(status, headers):
            self.counts.unfit += 1
            return None
        self.counts.stored += 1
        answer = kept_answer(status, headers, body, made, self._utc_ms(), plan.ttl_s)
        self._store.put(plan.key, answer, answer.fresh_until_ms + plan.stale_s * 1000)
        return answer


def kept_answer(status: int, headers: Headers, body: bytes, made: Made, now_ms: int, ttl_s: int) -> CachedAnswer:
    """An answer as it is kept: without the headers of the call that made it."""
    kept = [field for field in headers if field[0] in _KEPT_HEADERS]
    if not any(name == b"content-type" and value.lower().startswith(_EVENT_STREAM) for name, value in kept):
        # It tells a client that what it gets is whole.
        kept.append((b"content-length", b"%d" % len(body)))
    return CachedAnswer(
        status=status,
        headers=tuple(kept),
        body=body,
        stored_ms=now_ms,
        fresh_until_ms=now_ms + ttl_s * 1000,
        model=made.model,
        usage=made.usage,
        log_id=made.log_id,
    )


def may_cache(visit: Visit) -> bool:
    """Whether a step may use a cache at all: a question that is held whole, and a caller who did not say no."""
    request, settings = visit.request, visit.settings
    return (
        request.method == b"POST"
        and isinstance(request.body, bytes)
        and settings.get(b"cf-aig-skip-cache", b"").strip().lower() != b"true"
    )


def asked_ttl_s(visit: Visit) -> int | None:
    """
    The `cf-aig-cache-ttl` of a step.

    Returns:
        Seconds from a minute to a month, 0 for no cache; None when there is none, or none that can be read.
    """
    text = visit.settings.get(b"cf-aig-cache-ttl", b"").strip()
    # Bytes count only the ten ASCII digits as such.
    if not text.isdigit():
        return None
    asked_s = int(text.lstrip(b"0")[:12] or 0)
    return asked_s and _in_range(asked_s)


def _in_range(ttl_s: int) -> int:
    return min(max(ttl_s, LEAST_TTL_S), MOST_TTL_S)
