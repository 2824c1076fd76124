"""
One connection to PostgreSQL.

txpostgres does the talking. What it leaves open is closed here: a statement is never cancelled (libpq's cancel blocks
the reactor for as long as the server is frozen), every wait has a deadline that a shared timer can check, the loss of
an idle connection is told instead of logged, and COMMIT is believed only when the server says COMMIT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import psycopg2
from psycopg2 import errorcodes, errors
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aigw.errors import AigwError, StatementTooSlow, StorageUnavailable
from aigw.storage.connection import Connection
from aigw.storage.cursor import Cursor
from aigw.storage.dsn import Dsn

T = TypeVar("T")

# A server that goes away or has become a read-only copy: nothing wrong with the statement, but with the connection.
GOING_AWAY = frozenset(
    {
        errorcodes.ADMIN_SHUTDOWN,
        errorcodes.CRASH_SHUTDOWN,
        errorcodes.CANNOT_CONNECT_NOW,
        errorcodes.READ_ONLY_SQL_TRANSACTION,
        errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    }
)


class Link:
    """
    A connection from `open` to `close`; it is not opened twice.

    Args:
        reactor: Its sockets, clock and name resolver.
        answer_s: How long a statement may go unanswered.

    Attributes:
        reactor: As given.
        deadline: When (by `reactor.seconds()`) what is waited for now is given up; None when nothing is.
        why: Why it was closed, once it is.
        is_open: From the answer of the server to the loss of the connection.
    """

    def __init__(self, reactor: Any, answer_s: float) -> None:
        self.deadline: float | None = None
        self.is_open = False
        self.reactor = reactor
        self._answer_s = answer_s
        self._connection = Connection(reactor, self._lost)
        self._running = False
        self.why = "the connection was closed"
        self._closed = False
        self._resolving: Deferred[Dsn] | None = None
        self._after_statement: list[Callable[[], None]] = []
        self._after_close: list[Callable[[], None]] = []

    async def open(self, dsn: Dsn, connect_s: float) -> None:
        """
        Connect.

        Args:
            dsn: Where to.
            connect_s: How long that may take, name look-up included.
        Raises:
            StorageUnavailable: There is no server, it refused, or the time is over.
        """
        self.deadline = self.reactor.seconds() + connect_s
        try:
            self._resolving = Deferred.fromCoroutine(dsn.resolved(self.reactor.nameResolver))
            text = (await self._resolving).text
            await _unhindered(self._connection.connect(text))
            if self._closed:
                raise StorageUnavailable(self.why)
        except Exception as error:
            if isinstance(error, CancelledError) and not self._closed:
                self.close()
                raise
            self.close(self.why)
            raise StorageUnavailable(_text_of(error) or self.why) from None
        self.deadline = None
        self.is_open = True

    def close(self, why: str = "the connection was closed") -> None:
        """
        Drop the connection at once, whatever runs on it. May be called at any time.

        Args:
            why: For the error of a statement that runs.
        """
        self.why = why
        self._closed = True
        self.is_open = False
        self.deadline = None
        if self._resolving is not None:
            self._resolving.cancel()
        self._connection.close()
        listeners, self._after_close = self._after_close, []
        for each in listeners:
            each()

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call once when the open connection is closed or lost."""
        self._after_close.append(call)

    def when_free(self, call: Callable[[], None]) -> None:
        """Call once when no statement runs, which may be now."""
        if self._running:
            self._after_statement.append(call)
        else:
            call()

    def on_notify(self, heard: Callable[[str, str], None]) -> None:
        """Call with channel and payload of every NOTIFY."""
        self._connection.addNotifyObserver(lambda notify: heard(notify.channel, notify.payload))

    async def query(
        self, sql: str, parameters: Sequence[Any] = (), answer_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement; see `IDatabase.query`."""
        cursor = self.cursor(answer_s)
        await cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description is not None else []

    async def transact(self, interaction: Callable[[Any], Awaitable[T]], answer_s: float | None = None) -> T:
        """
        Run a coroutine function inside a transaction; see `IDatabase.transact`.

        Cancelled, it waits for the running statement and rolls back; when that fails, the connection is dropped, which
        rolls back as well.
        """
        cursor = self.cursor(answer_s)
        try:
            await cursor.execute("BEGIN")
            result = await interaction(cursor)
        except BaseException:
            await self._roll_back(cursor)
            raise
        await cursor.execute("COMMIT")
        if cursor.statusmessage != "COMMIT":
            # An error that the interaction swallowed: the server answers COMMIT with ROLLBACK, and no error.
            raise errors.InFailedSqlTransaction("The transaction was rolled back, since a statement in it had failed")
        return result

    def cursor(self, answer_s: float | None = None) -> Cursor:
        """A cursor, each of whose statements may take so long."""
        if not self.is_open:
            raise StorageUnavailable(self.why)
        return Cursor(self._connection.cursor(), self.run, self._answer_s if answer_s is None else answer_s)

    def run(self, cursor: Any, sql: str, parameters: Sequence[Any], answer_s: float) -> Deferred[None]:
        """
        Run a statement on a txpostgres cursor once the one before has ended.

        Returns:
            Its Deferred may be cancelled: then the statement runs on, unheard.
        """
        answer: Deferred[None] = Deferred(_run_on)

        def begin() -> None:
            if answer.called:
                return
            if not self.is_open:
                answer.errback(StorageUnavailable(self.why))
                return
            self._running = True
            self.deadline = self.reactor.seconds() + answer_s
            # Without parameters, a percent sign in the text is a percent sign.
            cursor.execute(sql, parameters or None).addBoth(self._ended, answer)

        self.when_free(begin)
        return answer

    def _ended(self, result: Any, answer: Deferred[None]) -> None:
        self._running = False
        self.deadline = None
        error: BaseException | None = None
        if isinstance(result, Failure) and result.check(CancelledError):
            # txpostgres's name for the server's QueryCanceled; we cancel nothing. The connection is as good as before.
            error = StatementTooSlow("the database gave the statement up, since it took too long")
        elif isinstance(result, Failure):
            error = self._translated(cast(BaseException, result.value))
            if isinstance(error, StorageUnavailable):
                self.close(str(error))
        elif not self.is_open:
            # The answer came as the connection was closed, and its rows went with that.
            error = StorageUnavailable(self.why)
        if answer.called:
            pass
        elif error is not None:
            answer.errback(error)
        else:
            answer.callback(None)
        while self._after_statement and not self._running:
            self._after_statement.pop(0)()

    async def _roll_back(self, cursor: Cursor) -> None:
        try:
            await cursor.execute("ROLLBACK")
        except Exception:
            self.close("rolling back failed")

    def _lost(self) -> None:
        self.close("the server closed the connection")

    def _translated(self, error: BaseException) -> BaseException:
        """What a caller is told: StorageUnavailable when the connection is at fault, else the error itself."""
        if isinstance(error, AigwError):
            return error
        if not self.is_open or self._connection.is_dead:
            return StorageUnavailable(_text_of(error) or self.why)
        if isinstance(error, ValueError):
            # Refused before it was sent: a NUL or a lone surrogate in a text.
            return psycopg2.DataError(str(error))
        if isinstance(error, psycopg2.Error) and error.pgcode in GOING_AWAY:
            return StorageUnavailable(_text_of(error))
        return error


def _run_on(_: Deferred[None]) -> None:
    """Cancelling stops the waiting and nothing else."""


def _unhindered(connecting: Deferred[Any]) -> Deferred[None]:
    """A Deferred like the given one, that may be cancelled without reaching libpq's blocking cancel."""
    heard: Deferred[None] = Deferred(_run_on)

    def pass_on(result: Any) -> None:
        if heard.called:
            return
        if isinstance(result, Failure):
            heard.errback(result)
        else:
            heard.callback(None)

    connecting.addBoth(pass_on)
    return heard


def _text_of(error: BaseException) -> str:
    """What the server or libpq said; empty for the reactor's own errors, which say less than we know."""
    return str(error).strip() if isinstance(error, psycopg2.Error | StorageUnavailable) else ""
