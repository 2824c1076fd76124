"""Stage 6, where the owner wants it: an answer that was given to a question which means the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.controls.cache import asked_ttl_s
from aigw.controls.cache_key import CacheKeys
from aigw.controls.embeddings import Embeddings
from aigw.controls.semantic_question import read_question
from aigw.controls.visit import Visit
from aigw.errors import ConfigurationError, GatewayError, StorageUnavailable
from aigw.serving.wheel import Timer
from aigw.values.cached import CachedAnswer
from aigw.values.gateway import Gateway, SemanticCache
from aigw.values.semantic import Place

# For the vector and the search together; whoever is not found by then asks the provider.
DEADLINE_S = 2.0
# How often a database that lacks something is asked again: somebody may have installed it.
RETRY_S = 30.0
# Answers on their way into the database at a time, and how large each may be.
WRITES = 64
ANSWER_BYTES = 262_144


class Neighbours(Protocol):
    """Keeps vectors: `aigw.storage.semantic_answers.SemanticAnswers`, where each of these is explained."""

    async def prepare(self, dimensions: int) -> None:
        """Make what one size of vectors needs."""

    async def nearest(self, place: Place, vector: Sequence[float], now_ms: int) -> tuple[CachedAnswer, float] | None:
        """The answer to the nearest question, and its distance."""

    async def insert(self, place: Place, vector: Sequence[float], answer: CachedAnswer, until_ms: int) -> None:
        """Keep an answer."""


@attrs.define
class SemanticCounts:
    """
    What the semantic cache has done so far.

    Attributes:
        hits, misses: Look-ups by what they found.
        unasked: Requests whose body holds no question that can be compared; each is a miss for its request.
        late: Look-ups given up at the deadline.
        failed: Look-ups that the embeddings endpoint or the database did not answer.
        unprepared: Look-ups while the database lacks what they need.
        stored: Answers that were written.
        unstored: Answers that were not: too large, too many on their way, or the database refused.
    """

    hits: int = 0
    misses: int = 0
    unasked: int = 0
    late: int = 0
    failed: int = 0
    unprepared: int = 0
    stored: int = 0
    unstored: int = 0


class Sought(msgspec.Struct, frozen=True):
    """
    What became of a look-up.

    Attributes:
        place, vector: Of the question, to keep its answer under.
        answer: To the nearest question, when that means the same.
        distance: Cosine distance of that question; 2 when there is none at all.
        ttl_s: For how long an answer may be found.
    """

    place: Place
    vector: Sequence[float]
    answer: CachedAnswer | None
    distance: float
    ttl_s: int


class SemanticCaches:
    """
    The semantic caches of all gateways.

    Args:
        neighbours: See there.
        embeddings: See there.
        keys: Makes the digest of what two questions must have in common.
        later: Calls back after seconds.
        monotonic_s: Seconds of a clock that nobody sets.

    Attributes:
        counts: See there.
        problems: What hinders a semantic cache, by account and name of its gateway: for `/ready`.
    """

    _log = Logger()

    def __init__(
        self,
        neighbours: Neighbours,
        embeddings: Embeddings,
        keys: CacheKeys,
        later: Callable[[float, Callable[[], object]], Timer],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._neighbours = neighbours
        self._embeddings = embeddings
        self._keys = keys
        self._later = later
        self._monotonic_s = monotonic_s
        # Those for which all is made ready, by gateway.
        self._ready: dict[str, SemanticCache] = {}
        # When to try again, by gateway; infinity while that is under way.
        self._again_s: dict[str, float] = {}
        self._writing = 0
        self.counts = SemanticCounts()
        self.problems: dict[str, str] = {}

    async def prepare(self, gateway: Gateway) -> None:
        """
        Make a gateway's semantic cache ready: for whoever saves its settings, and for the start.

        Raises:
            ConfigurationError: It cannot work as things stand; each problem names its field.
            StorageUnavailable: The database did not answer. A later look-up tries again.
        """
        name, settings = _name(gateway), gateway.semantic_cache
        if settings is None:
            self.problems.pop(name, None)
            return
        try:
            self._embeddings.check(settings)
            await self._neighbours.prepare(settings.dimensions)
        except ConfigurationError as error:
            if self.problems.get(name) != str(error):
                self.problems[name] = str(error)
                self._log.error("The semantic cache of {gateway} cannot work: {error}", gateway=name, error=str(error))
            raise
        self._ready[name] = settings
        self.problems.pop(name, None)

    async def check(self, gateway: Gateway) -> list[str]:
        """What stands in the way of a gateway's semantic cache; each sentence begins with its field. As `prepare`."""
        try:
            await self.prepare(gateway)
        except ConfigurationError as error:
            return error.problems
        return []

    def look_up(self, visit: Visit, version: int, now_ms: int) -> Deferred[Sought | None] | None:
        """
        The answer to a question that means the same.

        Args:
            visit: Of a step whose `CachePlan` is semantic.
            version: Of the gateway's settings.
            now_ms: UTC, milliseconds since the epoch.
        Returns:
            None when nothing can be compared. The Deferred fires with None when anything fails or is late, which is a
            miss; it may be cancelled.
        """
        settings, body = visit.gateway.semantic_cache, visit.request.body
        if settings is None or not isinstance(body, bytes):
            return None
        if not self._is_ready(visit.gateway, settings):
            self.counts.unprepared += 1
            return None
        beginning = self._keys.beginning(visit, version)
        beginning.update(f"{settings.url} {settings.model} ".encode())
        question = read_question(body, beginning)
        if question is None:
            self.counts.unasked += 1
            return None
        place = Place(settings.dimensions, _name(visit.gateway), question.fingerprint, question.digest)
        ttl_s = asked_ttl_s(visit) or settings.ttl
        return self._bounded(Deferred.fromCoroutine(self._seek(settings, place, question.text, now_ms, ttl_s)))

    def _bounded(self, seeking: Deferred[Sought | None]) -> Deferred[Sought | None]:
        """What is late is a miss; only who asked may cancel, and is told of that."""
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            seeking.cancel()

        def failed(failure: Failure) -> None:
            if late:
                self.counts.late += 1
                return
            if failure.check(CancelledError):
                failure.raiseException()
            self.counts.failed += 1
            if failure.check(GatewayError, StorageUnavailable):
                self._log.debug("A semantic look-up failed: {reason}", reason=failure.getErrorMessage())
            else:
                self._log.failure("A semantic look-up failed in a way that it should not", failure=failure)

        timer = self._later(DEADLINE_S, give_up)

        def over(found: Sought | None) -> Sought | None:
            timer.cancel()
            return found

        return seeking.addErrback(failed).addBoth(over)

    async def _seek(self, settings: SemanticCache, place: Place, text: str, now_ms: int, ttl_s: int) -> Sought:
        vector = await self._embeddings.embed(settings, text, DEADLINE_S)
        nearest = await self._neighbours.nearest(place, vector, now_ms)
        answer, distance = nearest or (None, 2.0)
        # A distance that is no number is none that means the same.
        if answer is None or not distance <= settings.threshold:
            self.counts.misses += 1
            return Sought(place, vector, None, distance, ttl_s)
        self.counts.hits += 1
        return Sought(place, vector, answer, distance, ttl_s)

    def remember(self, sought: Sought, answer: CachedAnswer) -> None:
        """
        Keep the answer that was given after a miss. Does not wait.

        Args:
            sought: Of the look-up that missed.
            answer: As the cache keeps it.
        """
        if self._writing >= WRITES or len(answer.body) > ANSWER_BYTES:
            self.counts.unstored += 1
            return
        self._writing += 1
        until_ms = answer.stored_ms + sought.ttl_s * 1000
        writing = self._neighbours.insert(sought.place, sought.vector, answer, until_ms)
        Deferred.fromCoroutine(writing).addCallbacks(self._stored, self._unstored)

    def _stored(self, _: None) -> None:
        self._writing -= 1
        self.counts.stored += 1

    def _unstored(self, failure: Failure) -> None:
        self._writing -= 1
        self.counts.unstored += 1
        if not failure.check(StorageUnavailable):
            self._log.failure("An answer could not be kept by its meaning", failure=failure)

    def _is_ready(self, gateway: Gateway, settings: SemanticCache) -> bool:
        """Whether the database has what it takes; if not, it is asked for beside the requests, now and then."""
        name = _name(gateway)
        if self._ready.get(name) == settings:
            return True
        if self._monotonic_s() >= self._again_s.get(name, 0.0):
            self._again_s[name] = float("inf")
            Deferred.fromCoroutine(self.prepare(gateway)).addErrback(self._unprepared).addBoth(self._tried, name)
        return False

    def _unprepared(self, failure: Failure) -> None:
        # The one is told already, the other will pass.
        if not failure.check(ConfigurationError, StorageUnavailable):
            self._log.failure("A semantic cache could not be prepared", failure=failure)

    def _tried(self, _: None, name: str) -> None:
        self._again_s[name] = self._monotonic_s() + RETRY_S


def _name(gateway: Gateway) -> str:
    return f"{gateway.account}/{gateway.id}"
