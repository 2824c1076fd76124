"""txpostgres's connection, fit to be dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Cooperator
from txpostgres import txpostgres

# libpq's ConnStatusType, of which psycopg2 keeps no names.
CONNECTION_OK = 0


class Connection(txpostgres.Connection):  # type: ignore[misc]  # txpostgres carries no types
    """A txpostgres connection that tells of its loss, and that may be closed at any time."""

    def __init__(self, reactor: Any, lost: Callable[[], None]) -> None:
        # txpostgres would fall back to the global cooperator, and with it to the global reactor.
        super().__init__(reactor, Cooperator(scheduler=lambda step: reactor.callLater(0, step)))
        self._lost = lost

    @property
    def is_dead(self) -> bool:
        """Whether libpq has given up the connection."""
        connection = self._connection
        return bool(connection.closed) or connection.info.status != CONNECTION_OK

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """Nobody waits while the connection is idle: an error then is its loss, not a fault of the reactor's."""
        if self._pollingD is not None:
            super().continuePolling(swallowErrors)
            return
        try:
            super().continuePolling(False)
        except Exception:
            self._lost()

    def close(self) -> None:
        """Also before the connection was ever made, and twice."""
        if self._connection is not None and not self._connection.closed:
            super().close()
