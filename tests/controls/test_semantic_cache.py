"""Questions that mean the same, through a real PostgreSQL and an embeddings endpoint on loopback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from aigw.controls.cache_key import CacheKeys
from aigw.controls.embeddings import Embeddings
from aigw.controls.semantic_cache import ANSWER_BYTES, DEADLINE_S, RETRY_S, WRITES, SemanticCaches, Sought
from aigw.errors import ConfigurationError, ConnectFailed, StorageUnavailable
from aigw.interfaces import IOutboundHTTP
from aigw.serving.wheel import Wheel
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.storage.semantic_answers import SemanticAnswers
from aigw.testing.embeddings import embeddings, meaning
from aigw.testing.postgres import fresh_database
from aigw.testing.provider import ScriptedProvider, json_answer
from aigw.upstream.outbound import Outbound
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.cached import CachedAnswer
from aigw.values.gateway import Gateway, SemanticCache
from aigw.values.outbound import OutboundAnswer
from aigw.values.semantic import Place
from tests.dispatch.flying import NOW_MS, cache, visit

DIMENSIONS = 16
SETTINGS = SemanticCache("http://127.0.0.1:1/v1/embeddings", "small", DIMENSIONS, threshold=0.2, ttl=60)
GATEWAY = Gateway(id="g", semantic_cache=SETTINGS)
ANSWER = CachedAnswer(200, (), b'{"it":"will"}', NOW_MS, NOW_MS + 300_000)
VECTOR = b'{"data":[{"embedding":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0.5]}]}'


def chat(question: str, **more: Any) -> bytes:
    """A chat request."""
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": question}], **more}).encode()


class PlanTests(SynchronousTestCase):
    def test_plan(self) -> None:
        """A semantic cache includes an exact one, for chats only; who names a key or skips the cache has none."""
        plan = cache().plan(visit(GATEWAY), 1)
        assert plan is not None
        self.assertEqual((plan.semantic, plan.ttl_s), (True, 60))
        custom = cache().plan(visit(GATEWAY, {"cache-key": "faq"}), 1)
        assert custom is not None
        self.assertFalse(custom.semantic)
        for settings in ({"skip-cache": "true"}, {"cache-ttl": "0"}):
            self.assertIsNone(cache().plan(visit(GATEWAY, settings), 1))
        self.assertIsNone(cache().plan(visit(GATEWAY, model_type="embeddings"), 1))


class RealTests(TestCase):
    """With everything that is real."""

    timeout = 60

    async def setUp(self) -> None:
        self.endpoint = ScriptedProvider(reactor)
        await self.endpoint.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.endpoint.close()))
        self.endpoint.on("/v1/embeddings", embeddings(DIMENSIONS))
        self.wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # the reactor module is one
        upstream = Upstream(reactor, self.wheel, UpstreamSettings(), lambda: 1_700_000_000.0)
        self.addCleanup(lambda: Deferred.fromCoroutine(upstream.close()))
        database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        self.caches = SemanticCaches(
            *(SemanticAnswers(database), Embeddings(Outbound(upstream), {"KEY": "sk-fake"}), CacheKeys()),
            *(self.wheel.schedule, Clock().seconds),
        )
        self.gateway = self.owners(f"{self.endpoint.url}/v1/embeddings")
        await self.caches.prepare(self.gateway)

    def owners(self, url: str, name: str = "g") -> Gateway:
        """A gateway with a semantic cache."""
        return Gateway(id=name, semantic_cache=SemanticCache(url, "small", DIMENSIONS, 0.2, "KEY", 60))

    async def ask(self, question: str, gateway: Gateway | None = None, **more: Any) -> Sought:
        """Look a question up; a miss is answered."""
        asking = self.caches.look_up(visit(gateway or self.gateway, body=chat(question, **more)), 1, NOW_MS)
        assert asking is not None
        sought = await asking
        assert sought is not None
        if sought.answer is None:
            self.caches.remember(sought, ANSWER)
            while self.caches._writing:
                await Deferred.fromCoroutine(_a_turn())
        return sought

    async def test_same_meaning(self) -> None:
        """A question in other words is answered with the same answer, and told how near it was."""
        self.assertIsNone((await self.ask("Will it rain in Oslo tomorrow?")).answer)
        near = await self.ask("In Oslo, will it rain tomorrow please?")
        self.assertEqual(near.answer, ANSWER)
        self.assertTrue(0 < near.distance <= 0.2, near.distance)
        self.assertIsNone((await self.ask("Who wrote Peer Gynt?")).answer)
        counts = self.caches.counts
        self.assertEqual((counts.hits, counts.misses, counts.stored), (1, 2, 2))

    async def test_asked_as_documented(self) -> None:
        """The endpoint gets the question's text, the model, and its key."""
        await self.ask("Will it rain?")
        (seen,) = self.endpoint.requests
        self.assertEqual(seen.json, {"model": "small", "input": "Will it rain?"})
        self.assertEqual(seen.header(b"authorization"), b"Bearer sk-fake")

    async def test_kept_apart(self) -> None:
        """The same words to another gateway, model or conversation are another question."""
        await self.ask("Will it rain?")
        self.assertIsNotNone((await self.ask("Will it rain?")).answer)
        self.assertIsNone((await self.ask("Will it rain?", temperature=1)).answer)
        # Vectors of two models have nothing to do with each other.
        settings = msgspec.structs.replace(SETTINGS, url=f"{self.endpoint.url}/v1/embeddings", model="large")
        other_model = Gateway(id="g", semantic_cache=settings)
        await self.caches.prepare(other_model)
        self.assertIsNone((await self.ask("Will it rain?", other_model)).answer)
        elsewhere = self.owners(f"{self.endpoint.url}/v1/embeddings", "h")
        await self.caches.prepare(elsewhere)
        self.assertIsNone((await self.ask("Will it rain?", elsewhere)).answer)

    async def test_asked_ttl(self) -> None:
        """A caller may say for how long its answer is found."""
        step = visit(self.gateway, {"cache-ttl": "3600"}, body=chat("Will it rain?"))
        sought = await self.caches.look_up(step, 1, NOW_MS)  # type: ignore[misc]  # there is a question
        assert sought is not None
        self.assertEqual((sought.ttl_s, (await self.ask("Will it rain?")).ttl_s), (3600, 60))

    async def test_endpoint_fails(self) -> None:
        """An endpoint that fails, or tells nonsense, is a miss, and counted."""
        for number, script in enumerate(
            (
                json_answer({"error": "Will it rain?"}, status=500),
                json_answer({"data": []}),
                json_answer({"data": [{"embedding": [1.0]}]}),
                json_answer({"data": [{"embedding": [0.0] * DIMENSIONS}]}),
                json_answer({"data": [{"embedding": [1e300] * DIMENSIONS}]}),
            )
        ):
            self.endpoint.on("/v1/embeddings", script)
            asking = self.caches.look_up(visit(self.gateway, body=chat("Will it rain?")), 1, NOW_MS)
            assert asking is not None
            self.assertIsNone(await asking)
            self.assertEqual(self.caches.counts.failed, number + 1)
        # PostgreSQL refuses the last one in words of its own.
        self.assertEqual(len(self.flushLoggedErrors()), 1)


async def _a_turn() -> None:
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)  # type: ignore[attr-defined]
    await turned


@implementer(IOutboundHTTP)
class HeldOutbound:
    """Questions that the test answers."""

    def __init__(self) -> None:
        self.asked: list[Deferred[OutboundAnswer]] = []
        self.cancelled = 0

    def request(self, *request: Any) -> Deferred[OutboundAnswer]:
        """See `IOutboundHTTP`."""
        self.asked.append(Deferred(self._cancel))
        return self.asked[-1]

    def _cancel(self, asked: Deferred[OutboundAnswer]) -> None:
        self.cancelled += 1


class ScriptedNeighbours:
    """A table of vectors that fails as the test wishes."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.prepared = 0
        self.inserting: list[Deferred[None]] = []

    async def prepare(self, dimensions: int) -> None:
        self.prepared += 1
        if self.fault is not None:
            raise self.fault

    async def nearest(self, place: Place, vector: Sequence[float], now_ms: int) -> tuple[CachedAnswer, float] | None:
        if self.fault is not None:
            raise self.fault
        return ANSWER, float("nan")

    async def insert(self, place: Place, vector: Sequence[float], answer: CachedAnswer, until_ms: int) -> None:
        self.inserting.append(Deferred())
        await self.inserting[-1]


class TroubleTests(SynchronousTestCase):
    """What becomes of a request when something is in the way."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.outbound = HeldOutbound()
        self.neighbours = ScriptedNeighbours()
        self.caches = SemanticCaches(
            *(self.neighbours, Embeddings(self.outbound, {}), CacheKeys()),
            *(Wheel(self.clock).schedule, self.clock.seconds),
        )

    def prepare(self, gateway: Gateway = GATEWAY) -> Deferred[None]:
        return Deferred.fromCoroutine(self.caches.prepare(gateway))

    def look_up(self, body: bytes = chat("Will it rain?")) -> Deferred[Sought | None] | None:
        return self.caches.look_up(visit(GATEWAY, body=body), 1, NOW_MS)

    def asking(self) -> Deferred[Sought | None]:
        """A look-up under way."""
        asking = self.look_up()
        assert asking is not None
        return asking

    def test_late(self) -> None:
        """An endpoint that is slow is a miss at the deadline, and is asked no longer."""
        self.successResultOf(self.prepare())
        asking = self.asking()
        self.clock.advance(DEADLINE_S - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertIsNone(self.successResultOf(asking))
        self.assertEqual((self.caches.counts.late, self.outbound.cancelled), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_leaves(self) -> None:
        """A caller who leaves takes the question with it."""
        self.successResultOf(self.prepare())
        asking = self.asking()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((self.outbound.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_failures(self) -> None:
        """An endpoint or a database that fails is a miss, and counted."""
        self.successResultOf(self.prepare())
        one = self.asking()
        self.outbound.asked[-1].errback(ConnectFailed())
        self.assertIsNone(self.successResultOf(one))
        self.neighbours.fault = StorageUnavailable("down")
        two = self.asking()
        self.outbound.asked[-1].callback(OutboundAnswer(200, (), VECTOR))
        self.assertIsNone(self.successResultOf(two))
        self.assertEqual(self.caches.counts.failed, 2)

    def test_no_number(self) -> None:
        """A distance that is no number is not near."""
        self.successResultOf(self.prepare())
        asking = self.asking()
        self.outbound.asked[-1].callback(OutboundAnswer(200, (), VECTOR))
        sought = self.successResultOf(asking)
        assert sought is not None
        self.assertIsNone(sought.answer)

    def test_nothing_to_compare(self) -> None:
        """A request that holds no question costs no question to the endpoint."""
        self.successResultOf(self.prepare())
        self.assertIsNone(self.look_up(b'{"messages":[]}'))
        self.assertEqual((self.caches.counts.unasked, self.outbound.asked), (1, []))

    def test_cannot_work(self) -> None:
        """A server without pgvector is told to whoever saves the settings, and stands in `/ready` until it has it."""
        self.neighbours.fault = ConfigurationError(["semantic_cache: no extension"])
        self.failureResultOf(self.prepare(), ConfigurationError)
        self.assertEqual(self.caches.problems, {"local/g": "semantic_cache: no extension"})
        self.neighbours.fault = None
        self.successResultOf(self.prepare())
        self.assertEqual(self.caches.problems, {})

    def test_switched_off(self) -> None:
        """An owner who gives it up has no problem any more."""
        self.neighbours.fault = ConfigurationError(["semantic_cache: no extension"])
        self.failureResultOf(self.prepare(), ConfigurationError)
        self.successResultOf(self.prepare(Gateway(id="g")))
        self.assertEqual(self.caches.problems, {})

    def test_no_key(self) -> None:
        """A key that is not in the environment is told when the settings are saved."""
        settings = SemanticCache("http://e.test", "small", DIMENSIONS, api_key_env="NO_SUCH")
        failure = self.failureResultOf(self.prepare(Gateway(id="g", semantic_cache=settings)), ConfigurationError)
        self.assertIn("NO_SUCH", failure.getErrorMessage())

    def test_prepared_by_the_way(self) -> None:
        """A gateway that another process has saved is made ready beside its requests, once in a while."""
        self.neighbours.fault = StorageUnavailable("down")
        for _ in range(3):
            self.assertIsNone(self.look_up())
        self.assertEqual((self.neighbours.prepared, self.caches.counts.unprepared), (1, 3))
        self.neighbours.fault = None
        self.clock.advance(RETRY_S)
        self.assertIsNone(self.look_up())
        self.assertEqual(self.neighbours.prepared, 2)
        self.assertIsNotNone(self.look_up())

    def test_writes_are_bounded(self) -> None:
        """A slow database holds a bounded number of answers, and a large one is not kept by its meaning."""
        sought = Sought(Place(DIMENSIONS, "local/g", b"", b""), meaning("x", DIMENSIONS), None, 2.0, 60)
        for _ in range(WRITES + 1):
            self.caches.remember(sought, ANSWER)
        self.assertEqual((len(self.neighbours.inserting), self.caches.counts.unstored), (WRITES, 1))
        self.neighbours.inserting[0].callback(None)
        self.neighbours.inserting[1].errback(StorageUnavailable("down"))
        self.caches.remember(sought, CachedAnswer(200, (), b"x" * (ANSWER_BYTES + 1), 0, 0))
        self.assertEqual((self.caches.counts.stored, self.caches.counts.unstored), (1, 3))
        self.caches.remember(sought, ANSWER)
        self.assertEqual(len(self.neighbours.inserting), WRITES + 1)
