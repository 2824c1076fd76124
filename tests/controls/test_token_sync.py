"""Tokens of two nodes meet in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from aigw.controls.token_file import TokenFile
from aigw.controls.token_sync import CHANNEL, TokenSync, sync
from aigw.controls.tokens import FORGET_AFTER_MS, Tokens
from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.database import Database
from aigw.storage.dsn import read_dsn
from aigw.testing.postgres import fresh_database
from aigw.values.limits import Bounds, LimitRule

NOW_MS = 1_800_000_000_123


class SyncTests(TestCase):
    async def setUp(self) -> None:
        self.now_ms = NOW_MS
        self.database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        await self.database.reached()
        self.here, self.there = self.node(), self.node()

    def node(self) -> Tokens:
        return self.again(Path(self.mktemp()))

    def again(self, path: Path) -> Tokens:
        return Tokens(TokenFile(path, execute), lambda: self.now_ms)

    async def sync_all(self) -> None:
        for tokens in (self.here, self.there, self.here):
            await sync(tokens, self.database)

    async def test_a_token_made_here_opens_the_gateway_there(self) -> None:
        """A token made on one node is taken by the other, with all that it is bound to, and stays so on its disk."""
        path = Path(self.mktemp())
        self.there = self.again(path)
        rule = LimitRule(limit=2.5, window=60, unit="usd", metadata={"plan": ("free",)})
        bounds = Bounds(("gpt-*",), ("openai",), ("https://app.example",), (rule,), ("*",))
        terms = ("local", "default", self.now_ms + 60_000, "red", "ada", bounds)
        made = await self.here.create("app", ("run", "read"), *terms)
        await self.sync_all()
        for node in (self.there, self.again(path)):
            self.assertEqual(node.verify(made.text, "local", "default", "read", self.now_ms), made.token)

    async def test_bounds_of_a_newer_release(self) -> None:
        """A token whose bounds a node does not understand is not taken there; it says so, and is silent otherwise."""
        made = await self.here.create("app")
        await sync(self.here, self.database)
        await self.database.query('UPDATE tokens SET bounds = \'{"colours": ["red"]}\'')
        await sync(self.there, self.database)
        self.assertEqual(self.there.all(), [])
        asked = Counted(self.database)
        await sync(self.here, asked)
        self.assertEqual(self.here.all(), [made.token])
        # Nothing was told, so nobody is woken to look at it again.
        self.assertEqual([sql for sql in asked.asked if "INSERT" in sql or "notify" in sql], [])

    async def test_a_minted_token_that_was_revoked(self) -> None:
        """The end of a minted token, of which nothing else is kept, reaches every node."""
        parent = await self.here.create("app")
        await self.sync_all()
        told: list[str] = []
        self.there.on_revoked(lambda token: told.append(token.id))
        minted = f"{parent.token.id}.{'0' * 16}"
        await self.here.revoke(minted)
        await self.sync_all()
        self.assertEqual(told, [minted])

    async def test_a_revocation_reaches_every_node(self) -> None:
        """A token that one node has revoked is refused by the other, whose open sockets are told."""
        made = await self.here.create("app")
        await self.sync_all()
        told: list[str] = []
        self.there.on_revoked(lambda token: told.append(token.id))
        await self.here.revoke(made.token.id)
        await self.sync_all()
        self.assertIsNone(self.there.verify(made.text, "local", "default", "run", self.now_ms))
        self.assertEqual(told, [made.token.id])

    async def test_nobody_takes_a_revocation_back(self) -> None:
        """A node that slept through a revocation does not bring the token back; the earliest end holds everywhere."""
        made = await self.here.create("app")
        await self.sync_all()
        await self.here.revoke(made.token.id)
        self.now_ms += 5_000
        await self.there.revoke(made.token.id)
        await sync(self.there, self.database)
        await self.sync_all()
        for node in (self.here, self.there):
            self.assertEqual([token.revoked_ms for token in node.all()], [NOW_MS])

    async def test_two_nodes_at_the_same_moment(self) -> None:
        """Of two nodes that write at the same moment, neither moves the other's revocation to a later time."""
        made = await self.here.create("app")
        await self.sync_all()
        await self.there.revoke(made.token.id)
        self.now_ms += 5_000
        await self.here.revoke(made.token.id)
        await sync(self.here, Overtaken(self.database, lambda: sync(self.there, self.database)))
        newcomer = self.node()
        await sync(newcomer, self.database)
        self.assertEqual([token.revoked_ms for token in newcomer.all()], [NOW_MS])

    async def test_an_empty_disk(self) -> None:
        """A node that has lost its disk gets its tokens back from the database."""
        made = await self.here.create("app")
        await sync(self.here, self.database)
        newcomer = self.node()
        await sync(newcomer, self.database)
        self.assertEqual(newcomer.all(), [made.token])

    async def test_ended_tokens_are_forgotten_everywhere(self) -> None:
        """Tokens that ended long ago leave the database and do not come back from anybody's disk."""
        await self.here.create("chat", expires_ms=self.now_ms + 1)
        await self.sync_all()
        self.now_ms += FORGET_AFTER_MS + 2
        await self.sync_all()
        self.assertEqual(await self.database.query("SELECT count(*) FROM tokens"), [(0,)])

    async def test_nothing_new_is_not_announced(self) -> None:
        """Nodes that agree leave each other in peace: an announcement follows a change, and no announcement follows."""
        heard = 0
        waiting: Deferred[None] = Deferred()

        def hear(*_: Any) -> None:
            nonlocal heard, waiting
            heard += 1
            told, waiting = waiting, Deferred()
            told.callback(None)

        self.database.listen(CHANNEL, hear)
        # The first call says that the database listens from now on.
        await waiting
        await self.here.create("app")
        announced = waiting
        await self.sync_all()
        await announced
        await self.sync_all()
        await self.sync_all()
        self.assertEqual(heard, 2)

    async def test_changes_are_pushed_by_themselves(self) -> None:
        """Once it is started, a node tells the database of each change without being asked."""
        TokenSync(self.here, self.database).start()
        for count in (1, 2):
            await self.here.create(f"app {count}")
            while await self.database.query("SELECT count(*) FROM tokens") != [(count,)]:
                pass


@implementer(IDatabase)
class Counted:
    """A database that keeps what it was asked."""

    available = True

    def __init__(self, real: Database) -> None:
        self._real = real
        self.asked: list[str] = []

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        self.asked.append(sql)
        return self._real.query(sql, parameters)

    def transact(self, interaction: Callable[[Any], Any]) -> Deferred[Any]:
        return self._real.transact(interaction)

    def when_available(self, call: Callable[[], None]) -> None:
        raise NotImplementedError


@implementer(IDatabase)
class Overtaken:
    """A database in which somebody else gets in just before we write."""

    available = True

    def __init__(self, real: Database, other: Callable[[], Awaitable[None]]) -> None:
        self._real = real
        self._other: Callable[[], Awaitable[None]] | None = other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        return Deferred.fromCoroutine(self._query(sql, parameters))

    async def _query(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if "INSERT" in sql and self._other is not None:
            other, self._other = self._other, None
            await other()
        return await self._real.query(sql, parameters)

    def transact(self, interaction: Callable[[Any], Any]) -> Deferred[Any]:
        return self._real.transact(interaction)

    def when_available(self, call: Callable[[], None]) -> None:
        raise NotImplementedError


@implementer(IDatabase)
class Away:
    """A database that comes into reach when the test says so."""

    available = False

    def __init__(self) -> None:
        self.queries: list[Deferred[list[tuple[Any, ...]]]] = []
        self.calls: list[Callable[[], None]] = []

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        if not self.available:
            return fail(StorageUnavailable())
        self.queries.append(Deferred())
        return self.queries[-1]

    def transact(self, interaction: Callable[[Any], Any]) -> Deferred[Any]:
        return succeed(None)

    def when_available(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


class TokenSyncTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tokens = Tokens(TokenFile(Path(self.mktemp()), execute), lambda: NOW_MS)
        self.database = Away()
        self.sync = TokenSync(self.tokens, self.database)
        self.sync.start()

    def create(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.tokens.create("app")))

    def answer(self) -> None:
        """The database answers everything that it was asked, with no rows."""
        while self.database.queries:
            self.database.queries.pop(0).callback([])

    def test_an_outage_costs_nothing(self) -> None:
        """Tokens can be made while the database is away, without an error in the log, and go there when it is back."""
        self.create()
        self.assertEqual(self.database.queries, [])
        self.database.available = True
        for call in self.database.calls:
            call()
        self.assertEqual(len(self.database.queries), 1)
        self.answer()

    def test_one_run_at_a_time(self) -> None:
        """Changes in quick succession lead to one run after another, and the last change is never left out."""
        self.database.available = True
        self.create()
        self.create()
        self.create()
        self.assertEqual(len(self.database.queries), 1)
        asked = 0
        while self.database.queries:
            asked += 1
            self.database.queries.pop(0).callback([])
        # Forget, select, upsert and notify, twice.
        self.assertEqual(asked, 8)
