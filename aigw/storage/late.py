"""A database whose server is still being started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase

T = TypeVar("T")


@implementer(IDatabase)
class LateDatabase:
    """
    Out of reach until it is told where the server is. The gateway serves meanwhile: crash recovery may take minutes.
    """

    def __init__(self) -> None:
        self._database: Any = None
        self._reached: list[Callable[[], None]] = []
        self._awaiting: list[Deferred[None]] = []
        self._heard: list[tuple[str, Callable[[str | None], None]]] = []

    def arrived(self, database: Any) -> None:
        """
        Hand everything on to a real database from now on.

        Args:
            database: A `Database`, started.
        """
        self._database = database
        for call in self._reached:
            database.when_available(call)
        for channel, heard in self._heard:
            database.listen(channel, heard)
        awaiting, self._awaiting = self._awaiting, []
        for each in awaiting:
            database.reached().chainDeferred(each)

    @property
    def available(self) -> bool:
        """See `IDatabase`."""
        return self._database is not None and self._database.available

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        """See `IDatabase`."""
        if self._database is None:
            return fail(StorageUnavailable("the database is being started"))
        return self._database.query(sql, parameters)  # type: ignore[no-any-return]  # as IDatabase says

    def transact(self, interaction: Callable[[Any], Awaitable[T]]) -> Deferred[T]:
        """See `IDatabase`."""
        if self._database is None:
            return fail(StorageUnavailable("the database is being started"))
        return self._database.transact(interaction)  # type: ignore[no-any-return]  # as IDatabase says

    def when_available(self, call: Callable[[], None]) -> None:
        """See `IDatabase`."""
        if self._database is None:
            self._reached.append(call)
        else:
            self._database.when_available(call)

    def reached(self) -> Deferred[None]:
        """As `Database.reached`."""
        if self._database is not None:
            return self._database.reached()  # type: ignore[no-any-return]  # as Database says
        reached: Deferred[None] = Deferred()
        self._awaiting.append(reached)
        return reached

    def listen(self, channel: str, heard: Callable[[str | None], None]) -> None:
        """As `Database.listen`."""
        if self._database is None:
            self._heard.append((channel, heard))
        else:
            self._database.listen(channel, heard)

    async def stop(self) -> None:
        """Close what has arrived; nothing more will."""
        awaiting, self._awaiting = self._awaiting, []
        for each in awaiting:
            each.errback(StorageUnavailable("the database was closed"))
        if self._database is not None:
            await self._database.stop()
