"""
PostgreSQL for everybody else in the gateway: a few connections that come back by themselves.

Nothing here waits without a bound. While the server is away, callers are told so at once; while all connections are
busy, a bounded number of callers waits a bounded time; and a connection whose server has fallen silent is dropped.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, fail, succeed
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import AigwError, StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.callers import Callers
from aigw.storage.dsn import Dsn
from aigw.storage.link import Link
from aigw.storage.listening import Ear
from aigw.storage.migrate import migrate
from aigw.storage.settings import DatabaseSettings

T = TypeVar("T")

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 2.0

SESSION = """
    SELECT set_config('statement_timeout', %s, false),
           set_config('idle_in_transaction_session_timeout', %s, false),
           set_config('timezone', 'UTC', false),
           set_config('jit', 'off', false)
"""


@implementer(IDatabase)
class Database:
    """
    A pool of connections.

    Args:
        reactor: Sockets, clock and name resolver.
        dsn: Where the server is.
        settings: See there.
        prepare: Brings the schema up to date, given a `Link`, each time the server has come into reach.

    Attributes:
        available: See `IDatabase`.
        fault: What stands in the way when waiting will not help: `SchemaTooNew` or `SchemaChanged`.
    """

    def __init__(
        self,
        reactor: Any,
        dsn: Dsn,
        settings: DatabaseSettings | None = None,
        prepare: Callable[[Link], Awaitable[None]] = migrate,
    ) -> None:
        self.available = False
        self.fault: AigwError | None = None
        self._reactor = reactor
        self._dsn = dsn
        self._settings = settings or DatabaseSettings()
        self._prepare = prepare
        self._preparing = DeferredLock()
        self._log = Logger()
        self._why = "the database has not answered yet"
        self._links: set[Link] = set()
        self._pool: set[Link] = set()
        self._free: deque[Link] = deque()
        self._callers = Callers(reactor, self._settings.waiting, self._settings.answer_s)
        self._reached: list[Callable[[], None]] = []
        self._ear = Ear()
        self._keepers: list[Deferred[None]] = []
        self._awaiting: list[Deferred[None]] = []
        self._stopped = False
        self._watch = LoopingCall(self._check_deadlines)
        self._watch.clock = reactor

    def start(self) -> None:
        """Begin to connect. The server need not be there."""
        self._watch.start(min(1.0, self._settings.answer_s / 4), now=False).addErrback(self._broken)
        for _ in range(self._settings.connections):
            self._keep(self._serve)
        if self._ear.channels:
            self._keep(self._hear)

    async def stop(self) -> None:
        """Close every connection; what still runs or waits fails with StorageUnavailable."""
        self._stopped = True
        self._unreachable("the database was closed")
        if self._watch.running:
            self._watch.stop()
        for link in list(self._links):
            link.close("the database was closed")
        self._end_waits(StorageUnavailable("the database was closed"))
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        # Closed sockets leave the reactor, and their statements' errors are delivered, in its next turn.
        await deferLater(self._reactor, 0)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        """See `IDatabase`."""
        return Deferred.fromCoroutine(self._with_link(lambda link: link.query(sql, parameters)))

    def transact(self, interaction: Callable[[Any], Awaitable[T]]) -> Deferred[T]:
        """See `IDatabase`."""
        return Deferred.fromCoroutine(self._with_link(lambda link: link.transact(interaction)))

    def when_available(self, call: Callable[[], None]) -> None:
        """See `IDatabase`. Called at once when the database is in reach now."""
        self._reached.append(call)
        if self.available:
            call()

    def reached(self) -> Deferred[None]:
        """
        Fires when the database is in reach, now or later.

        Raises:
            SchemaTooNew, SchemaChanged: Waiting will not help.
            StorageUnavailable: `stop` came first.
        """
        reached: Deferred[None] = Deferred()
        if self.available:
            reached.callback(None)
        elif self.fault is not None:
            reached.errback(self.fault)
        else:
            self._awaiting.append(reached)
        return reached

    def listen(self, channel: str, heard: Callable[[str | None], None]) -> None:
        """
        Hear what is sent by NOTIFY.

        Args:
            channel: Lower-case letters and underscores.
            heard: Called with each payload; with None whenever some may have been missed (after each connect), so that
                what they would have told has to be read again.
        """
        if not re.fullmatch("[a-z_]+", channel):
            raise ValueError(f"Not a channel's name: {channel}")
        if self._keepers and not self._ear.channels:
            self._keep(self._hear)
        self._ear.add(channel, heard)

    async def _with_link(self, work: Callable[[Link], Awaitable[T]]) -> T:
        link = await self._take()
        try:
            return await work(link)
        finally:
            # A caller that left may have left a statement behind; the connection is free when that has ended.
            link.when_free(lambda: self._give_back(link))

    def _take(self) -> Deferred[Link]:
        """A free connection, now or soon."""
        if not self.available:
            return fail(StorageUnavailable(self._why))
        return succeed(self._free.popleft()) if self._free else self._callers.wait()

    def _give_back(self, link: Link) -> None:
        if link.is_open and not self._callers.serve(link):
            self._free.append(link)

    def _keep(self, use: Callable[[Link], Awaitable[None]]) -> None:
        self._keepers.append(Deferred.fromCoroutine(self._keep_open(use)).addErrback(self._broken))

    async def _keep_open(self, use: Callable[[Link], Awaitable[None]]) -> None:
        """Open a connection, put it to use, and open another when it is gone, until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            link = Link(self._reactor, self._settings.answer_s)
            self._links.add(link)
            try:
                await link.open(self._dsn, self._settings.connect_s)
                statement_ms = str(int(self._settings.statement_s * 1000))
                await link.query(SESSION, (statement_ms, statement_ms))
                await use(link)
                retry_s = FIRST_RETRY_S
                await _closed(link)
            except (AigwError, psycopg2.Error) as error:
                self._note(error)
            finally:
                link.close(link.why)
                self._forget(link)
            if self._stopped:
                return
            await deferLater(self._reactor, retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    async def _serve(self, link: Link) -> None:
        """Take a connection into the pool; the first one brings the schema up to date before anybody may query."""
        await self._preparing.acquire()
        try:
            if not self.available:
                await self._prepare(link)
        finally:
            self._preparing.release()
        if not link.is_open:
            raise StorageUnavailable("the connection was lost while it was prepared")
        self._pool.add(link)
        self._give_back(link)
        if not self.available:
            self._announce()

    def _announce(self) -> None:
        self.available = True
        self.fault = None
        self._log.info("The database is in reach: {dsn}", dsn=str(self._dsn))
        # In a turn of its own: what is called may close this very pool.
        self._reactor.callLater(0, self._tell_reached)

    def _tell_reached(self) -> None:
        if not self.available:
            return
        for call in list(self._reached):
            try:
                call()
            except Exception:
                self._log.failure("What follows the database's return failed")
        self._end_waits(None)

    def _end_waits(self, fault: AigwError | None) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for each in awaiting:
            if each.called:
                continue
            if fault is None:
                each.callback(None)
            else:
                each.errback(fault)

    async def _hear(self, link: Link) -> None:
        # Listeners read tables when they are told of a new connection, so those have to be there.
        while not self.available:
            await deferLater(self._reactor, FIRST_RETRY_S)
        await self._ear.attach(link)

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._pool.discard(link)
        if link in self._free:
            self._free.remove(link)
        if self.available and not self._pool:
            self._unreachable(link.why)

    def _check_deadlines(self) -> None:
        """Drop what has been silent for too long. The one timer of all connections and callers."""
        now = self._reactor.seconds()
        for link in [each for each in self._links if each.deadline is not None and each.deadline <= now]:
            if link.is_open:
                self._unreachable("the database does not answer")
            link.close("the database did not answer in time")
        self._callers.expire()

    def _unreachable(self, why: str) -> None:
        """Turn callers away until a connection has proved anew that the server answers."""
        self._why = why
        if self.available and not self._stopped:
            self._log.warn("The database is out of reach: {why}", why=why)
        self.available = False
        # Idle connections lead to the same silent server: each would cost its first caller the same wait.
        for link in list(self._free):
            link.close(why)
        self._free.clear()
        self._ear.close(why)
        self._callers.turn_away(why)

    def _note(self, error: AigwError | psycopg2.Error) -> None:
        """Remember why there is no connection, and say so once."""
        why = str(error).strip()
        if not self.available:
            if why != self._why:
                self._log.warn("No connection to the database {dsn}: {why}", dsn=str(self._dsn), why=why)
            self._why = why
        if isinstance(error, AigwError) and not isinstance(error, StorageUnavailable):
            self.fault = error
            self._end_waits(error)

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("A defect in the pool of connections", failure)


async def _closed(link: Link) -> None:
    """Wait until an open connection is gone."""
    gone: Deferred[None] = Deferred()
    link.when_closed(lambda: None if gone.called else gone.callback(None))
    if link.is_open:
        await gone
