"""Answers by the meaning of their question, in a real PostgreSQL."""

from __future__ import annotations

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from aigw.errors import ConfigurationError
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn, read_dsn
from aigw.storage.semantic_answers import SWEEP_EVERY, SemanticAnswers
from aigw.storage.settings import DatabaseSettings
from aigw.testing.postgres import fresh_database
from aigw.values.cached import CachedAnswer
from aigw.values.semantic import Place
from aigw.values.usage import Usage

NOW_MS = 1_800_000_000_123
UNTIL_MS = NOW_MS + 60_000


def place(question: bytes = b"q" * 32, gateway: str = "local/g", fingerprint: bytes = b"f" * 32) -> Place:
    """Where a question belongs."""
    return Place(3, gateway, fingerprint, question)


def answer(body: bytes = b"{}", stored_ms: int = NOW_MS) -> CachedAnswer:
    """A kept answer."""
    headers = ((b"content-type", b"application/json"),)
    return CachedAnswer(200, headers, body, stored_ms, UNTIL_MS, "gpt-4o", Usage(3, 4), "log-1")


class SemanticAnswersTests(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.dsn = read_dsn(await fresh_database(reactor))
        self.database = await self.open(self.dsn)
        self.answers = SemanticAnswers(self.database)

    async def open(self, dsn: Dsn) -> Database:
        """A pool on a database."""
        database = Database(reactor, dsn, DatabaseSettings())
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        database.start()
        await database.reached()
        return database

    async def test_nearest(self) -> None:
        """The answer to the nearest question comes back as it was kept, with its distance."""
        await self.answers.prepare(3)
        self.assertIsNone(await self.answers.nearest(place(), [1, 0, 0], NOW_MS))
        await self.answers.insert(place(b"1" * 32), [1, 0, 0], answer(b"near"), UNTIL_MS)
        await self.answers.insert(place(b"2" * 32), [0, 1, 0], answer(b"far"), UNTIL_MS)
        found = await self.answers.nearest(place(), [2, 0.5, 0], NOW_MS)
        assert found is not None
        self.assertEqual(found[0], answer(b"near"))
        self.assertAlmostEqual(found[1], 0.0299, 4)

    async def test_kept_apart(self) -> None:
        """Nothing is found under another gateway or another fingerprint, nor when its time is over."""
        await self.answers.prepare(3)
        await self.answers.insert(place(), [1, 0, 0], answer(), UNTIL_MS)
        self.assertIsNone(await self.answers.nearest(place(gateway="local/h"), [1, 0, 0], NOW_MS))
        self.assertIsNone(await self.answers.nearest(place(fingerprint=b"g" * 32), [1, 0, 0], NOW_MS))
        self.assertIsNone(await self.answers.nearest(place(), [1, 0, 0], UNTIL_MS))
        self.assertIsNotNone(await self.answers.nearest(place(), [1, 0, 0], UNTIL_MS - 1))

    async def test_same_question(self) -> None:
        """A newer answer to the same text takes the place of the older one."""
        await self.answers.prepare(3)
        await self.answers.insert(place(), [1, 0, 0], answer(b"old"), UNTIL_MS)
        await self.answers.insert(place(), [1, 0, 0], answer(b"new"), UNTIL_MS)
        self.assertEqual(await self.database.query("SELECT count(*) FROM semantic_answers_3"), [(1,)])
        found = await self.answers.nearest(place(), [1, 0, 0], NOW_MS)
        assert found is not None
        self.assertEqual(found[0].body, b"new")

    async def test_prepared_by_many(self) -> None:
        """Several processes may make everything ready at once, and again; two sizes live beside each other."""
        await gatherResults(
            [Deferred.fromCoroutine(SemanticAnswers(self.database).prepare(size)) for size in (3, 3, 4, 4)]
        )
        await self.answers.prepare(3)
        for table in ("semantic_answers_3", "semantic_answers_4"):
            self.assertEqual(await self.database.query(f"SELECT count(*) FROM {table}"), [(0,)])

    async def test_bounded(self) -> None:
        """A gateway's oldest answers, and those whose time is over, make room; another gateway's stay."""
        await self.answers.prepare(3)
        few = SemanticAnswers(self.database, rows=5)
        await few.insert(place(gateway="local/h"), [1, 0, 0], answer(), UNTIL_MS)
        await few.insert(place(b"over" * 8), [1, 0, 0], answer(stored_ms=NOW_MS + 99), NOW_MS)
        for number in range(SWEEP_EVERY - 2):
            await few.insert(place(b"%032d" % number), [1, 0, 0], answer(stored_ms=NOW_MS + number), UNTIL_MS)
        rows = await self.database.query("SELECT gateway, question FROM semantic_answers_3 ORDER BY stored_at")
        kept = [(gateway, bytes(question)) for gateway, question in rows]
        self.assertEqual(kept[0], ("local/h", b"q" * 32))
        newest = range(SWEEP_EVERY - 6, SWEEP_EVERY - 2)
        self.assertEqual(kept[1:], [("local/g", b"%032d" % number) for number in newest])

    async def test_not_allowed(self) -> None:
        """A user who may not install the extension is told who may; afterwards all goes well."""
        await self.database.query("CREATE ROLE plain LOGIN PASSWORD 'fake'")
        await self.database.query("GRANT CREATE ON SCHEMA public TO plain")
        self.addCleanup(lambda: self.database.query("DROP OWNED BY plain; DROP ROLE plain"))
        await self.database.query("GRANT SELECT ON aigw_migrations TO plain")
        plain = SemanticAnswers(await self.open(Dsn({**self.dsn.parameters, "user": "plain", "password": "fake"})))
        error = await self.assertFailure(Deferred.fromCoroutine(plain.prepare(3)), ConfigurationError)
        self.assertIn("CREATE EXTENSION vector", str(error))
        await self.database.query("CREATE EXTENSION vector")
        await plain.prepare(3)
        await plain.insert(place(), [1, 0, 0], answer(), UNTIL_MS)

    async def test_not_installed(self) -> None:
        """Without pgvector on the server's machine the operator is told what to install."""
        # A view in front of the system's own hides the extension, as where nobody has installed it.
        await self.database.query(
            "CREATE VIEW public.pg_available_extensions AS"
            " SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'vector'"
        )
        name = self.dsn.parameters["dbname"]
        await self.database.query(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET search_path = public, pg_catalog")
        without = SemanticAnswers(await self.open(self.dsn))
        error = await self.assertFailure(Deferred.fromCoroutine(without.prepare(3)), ConfigurationError)
        self.assertIn("install pgvector", str(error))

    async def test_refused(self) -> None:
        """What PostgreSQL takes for no vector is an error of the caller's."""
        await self.answers.prepare(3)
        query = Deferred.fromCoroutine(self.answers.nearest(place(), [1e300, 0, 0], NOW_MS))
        await self.assertFailure(query, psycopg2.Error)
