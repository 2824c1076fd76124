"""When an answer is given again, for how long, and what is kept of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.cache import Cache, CachePlan, Found, Made
from aigw.errors import StateUnavailable
from aigw.values.cached import CachedAnswer
from aigw.values.gateway import Gateway
from aigw.values.step import Headers
from aigw.values.usage import Usage
from tests.dispatch.flying import ALONE, NOW_MS, DictStore, cache, visit

DAY_S = 86_400
OFF: dict[str, Any] = {}
ON = {"cache_ttl": 600}
LENIENT = {"cache_ttl": 0, "cache_without_ttl": True}

# The gateway's settings, the request's headers, and for how many seconds its answer is kept; 0 for no cache at all.
TTLS: list[tuple[dict[str, Any], dict[str, str], int]] = [
    (OFF, {}, 0),
    ({"cache_ttl": None}, {}, 0),
    (ON, {}, 600),
    ({"cache_ttl": 5}, {}, 60),
    ({"cache_ttl": 90 * DAY_S}, {}, 31 * DAY_S),
    # cf-aig-cache-ttl
    (ON, {"cache-ttl": "3600"}, 3600),
    (ON, {"cache-ttl": " 3600 "}, 3600),
    (ON, {"cache-ttl": "0"}, 0),
    (ON, {"cache-ttl": "000"}, 0),
    (ON, {"cache-ttl": "1"}, 60),
    (ON, {"cache-ttl": "99999999999999999999"}, 31 * DAY_S),
    (ON, {"cache-ttl": "-1"}, 600),
    (ON, {"cache-ttl": "1h"}, 600),
    (ON, {"cache-ttl": ""}, 600),
    (OFF, {"cache-ttl": "3600"}, 0),
    (LENIENT, {}, 0),
    (LENIENT, {"cache-ttl": "3600"}, 3600),
    (LENIENT, {"cache-ttl": "0"}, 0),
    # cf-aig-cache-key
    (OFF, {"cache-key": "faq"}, 300),
    (ON, {"cache-key": "faq"}, 600),
    (OFF, {"cache-key": "faq", "cache-ttl": "3600"}, 3600),
    (ON, {"cache-key": "faq", "cache-ttl": "3600"}, 3600),
    (OFF, {"cache-key": "faq", "cache-ttl": "x"}, 300),
    (ON, {"cache-key": "faq", "cache-ttl": "0"}, 0),
    (OFF, {"cache-key": " "}, 0),
    # cf-aig-skip-cache
    (ON, {"skip-cache": "true"}, 0),
    (ON, {"skip-cache": "TRUE"}, 0),
    (ON, {"skip-cache": "true", "cache-key": "faq", "cache-ttl": "3600"}, 0),
    (ON, {"skip-cache": "false"}, 600),
    (ON, {"skip-cache": "1"}, 600),
]

JSON = (b"content-type", b"application/json")
# Status, header fields, and whether such an answer is kept.
TAKEN: list[tuple[int, Headers, bool]] = [
    (200, (JSON,), True),
    (201, (JSON,), True),
    (200, ((b"content-type", b"text/event-stream; charset=utf-8"),), True),
    (200, ((b"content-type", b"Image/PNG"),), True),
    (200, ((b"content-type", b"audio/mpeg"),), True),
    (200, ((b"content-type", b"application/problem+json"),), True),
    (200, (JSON, (b"content-length", b"1000000")), True),
    (200, (JSON, (b"content-length", b"1000001")), False),
    (200, (JSON, (b"content-encoding", b"identity")), True),
    (200, (JSON, (b"content-encoding", b"gzip")), False),
    (200, ((b"content-type", b"video/mp4"),), False),
    (200, ((b"content-type", b"application/vnd.amazon.eventstream"),), False),
    (200, (), False),
    (206, (JSON,), False),
    (302, (JSON,), False),
    (400, (JSON,), False),
    (500, (JSON,), False),
]


class PlanTests(SynchronousTestCase):
    def test_ttl(self) -> None:
        """The header beats the gateway within one minute and one month; a custom key opts in by itself."""
        for gateway, settings, ttl_s in TTLS:
            plan = cache().plan(visit(Gateway(id="g", **gateway), settings), 1)
            self.assertEqual(plan.ttl_s if plan else 0, ttl_s, f"{gateway} {settings}")

    def test_only_held_posts(self) -> None:
        """A question whose body streams through, or which is no POST, is not cached, whatever its headers say."""
        for settings in ({}, {"cache-key": "faq"}):
            for more in ({"method": b"GET"}, {"method": b"PUT"}, {"body": object()}):
                self.assertIsNone(cache().plan(visit(settings=settings, **more), 1))

    def test_plan(self) -> None:
        """The plan carries the gateway's choices, and says whose key it has."""
        gateway = Gateway(id="g", cache_ttl=60, cache_stale_if_error=90, cache_single_flight=True)
        plan = cache().plan(visit(gateway), 1)
        custom = cache().plan(visit(gateway, {"cache-key": "faq"}), 1)
        assert plan is not None and custom is not None
        self.assertEqual((plan.stale_s, plan.shared, plan.custom, custom.custom), (90, True, False, True))
        self.assertNotEqual(plan.key, custom.key)


class LookUpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = DictStore()
        self.cache = cache(self.store)

    def offer(
        self, plan: CachePlan = ALONE, body: bytes = b"{}", headers: Headers = (JSON,), status: int = 200
    ) -> None:
        """A complete answer."""
        self.cache.offer(plan, status, headers, body, Made("gpt-4o", Usage(3, 4), "log-1"))

    def found(self, plan: CachePlan = ALONE, later_s: float = 0) -> Found | None:
        """What is found some time after the answer was stored."""
        found = self.cache.look_up(plan, NOW_MS + int(later_s * 1000))
        assert not isinstance(found, Deferred)
        return found

    def test_hit(self) -> None:
        """An answer is found until its time is over."""
        self.assertIsNone(self.found())
        self.offer()
        found = self.found(later_s=299.999)
        assert found is not None
        self.assertEqual((found.stale, found.answer.body), (False, b"{}"))
        self.assertEqual(
            (found.answer.model, found.answer.usage, found.answer.log_id), ("gpt-4o", Usage(3, 4), "log-1")
        )
        self.assertIsNone(self.found(later_s=300))
        counts = self.cache.counts
        self.assertEqual((counts.hits, counts.misses, counts.stored), (1, 2, 1))

    def test_stale(self) -> None:
        """With stale-if-error an answer is kept beyond its time, and marked; the owner may withdraw that."""
        plan = CachePlan(b"k" * 32, 300, 60, False, False)
        self.offer(plan)
        found = self.found(plan, 300)
        assert found is not None
        self.assertTrue(found.stale)
        self.assertIsNone(self.found(plan, 360))
        self.assertIsNone(self.found(ALONE, 300))
        self.assertEqual(self.cache.counts.stale, 1)

    def test_taken(self) -> None:
        """Complete successes of text, sound and images are kept; errors, parts and coded bodies are not."""
        for status, headers, taken in TAKEN:
            self.store.kept.clear()
            self.offer(headers=headers, status=status)
            self.assertEqual(len(self.store.kept), taken, f"{status} {headers}")
            self.assertEqual(self.cache.takes(status, headers), taken)

    def test_too_large(self) -> None:
        """A body beyond the bound is not kept, also when no header told its length."""
        self.offer(body=b"x" * 1_000_000)
        self.assertEqual(self.cache.counts.stored, 1)
        self.offer(body=b"x" * 1_000_001)
        self.assertEqual((self.cache.counts.stored, self.cache.counts.unfit), (1, 1))

    def test_headers(self) -> None:
        """What belongs to one call, cookies above all, is nobody else's; the length is that of the body."""
        self.offer(
            headers=(
                JSON,
                (b"set-cookie", b"session=1"),
                (b"x-request-id", b"req-1"),
                (b"x-ratelimit-remaining-requests", b"7"),
                (b"transfer-encoding", b"chunked"),
                (b"content-language", b"de"),
            )
        )
        found = self.found()
        assert found is not None
        self.assertEqual(found.answer.headers, (JSON, (b"content-language", b"de"), (b"content-length", b"2")))

    def test_stream_has_no_length(self) -> None:
        """A stream comes as a stream: without a length."""
        kind = (b"content-type", b"text/event-stream")
        self.offer(body=b"data: [DONE]\n\n", headers=(kind, (b"content-length", b"14")))
        found = self.found()
        assert found is not None
        self.assertEqual(found.answer.headers, (kind,))


class DownStore(DictStore):
    """A store that does not answer."""

    def get(self, key: bytes, now_ms: int) -> CachedAnswer | None:
        raise StateUnavailable


class SharedStore(DictStore):
    """A store that answers later."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Deferred[CachedAnswer | None] = Deferred()

    def get(self, key: bytes, now_ms: int) -> Any:
        return self.asked


class StoreTests(SynchronousTestCase):
    def ask(self, store: DictStore) -> tuple[Cache, Any]:
        """A cache, and what its look-up gives."""
        asked = cache(store)
        return asked, asked.look_up(ALONE, NOW_MS)

    def test_down(self) -> None:
        """A store that is down is a miss, and counted."""
        asked, found = self.ask(DownStore())
        self.assertIsNone(found)
        self.assertEqual((asked.counts.unavailable, asked.counts.misses), (1, 0))

    def test_down_later(self) -> None:
        """So is one that fails after a while."""
        store = SharedStore()
        asked, found = self.ask(store)
        store.asked.errback(StateUnavailable())
        self.assertIsNone(self.successResultOf(found))
        self.assertEqual(asked.counts.unavailable, 1)

    def test_later(self) -> None:
        """A shared store is waited for."""
        store = SharedStore()
        _, found = self.ask(store)
        self.assertNoResult(found)
        store.asked.callback(CachedAnswer(200, (), b"{}", NOW_MS, NOW_MS + 1))
        self.assertFalse(self.successResultOf(found).stale)

    def test_cancelled(self) -> None:
        """A caller who leaves gives the look-up up."""
        _, found = self.ask(SharedStore())
        found.cancel()
        self.failureResultOf(found, CancelledError)
