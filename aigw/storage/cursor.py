"""Where statements of a transaction are run, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

Run = Callable[[Any, str, Sequence[Any], float], Deferred[None]]


class Cursor:
    """
    What an interaction is given.

    Args:
        cursor: txpostgres's.
        run: Runs a statement on that within a number of seconds; see `Link.run`.
        answer_s: For each statement.
    """

    def __init__(self, cursor: Any, run: Run, answer_s: float) -> None:
        self._cursor = cursor
        self._run = run
        self._answer_s = answer_s

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[None]:
        """
        Run a statement.

        Args:
            sql: With `%s` for each parameter.
            parameters: As psycopg2 takes them.
        Raises:
            StorageUnavailable: See `IDatabase.query`.
            psycopg2.Error: The server refused it.
        """
        return self._run(self._cursor, sql, parameters, self._answer_s)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of the last statement that are left."""
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the last statement."""
        row: tuple[Any, ...] | None = self._cursor.fetchone()
        return row

    @property
    def rowcount(self) -> int:
        """How many rows the last statement gave or changed."""
        return int(self._cursor.rowcount)

    @property
    def description(self) -> Any:
        """Columns of the last statement, None when it gives no rows."""
        return self._cursor.description

    @property
    def statusmessage(self) -> str:
        """What the server called the last statement."""
        return str(self._cursor.statusmessage)
