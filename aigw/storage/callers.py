"""Those who wait for a free connection: a bounded number, for a bounded time."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from aigw.errors import StorageUnavailable
from aigw.storage.link import Link


class Callers:
    """
    A queue, first come first served.

    Args:
        reactor: Its clock.
        limit: How many may wait.
        wait_s: How long each may.
    """

    def __init__(self, reactor: Any, limit: int, wait_s: float) -> None:
        self._reactor = reactor
        self._limit = limit
        self._wait_s = wait_s
        self._waiting: deque[tuple[float, Deferred[Link]]] = deque()

    def wait(self) -> Deferred[Link]:
        """
        Stand in line.

        Returns:
            Fires with a free connection; cancelling it leaves the line.
        Raises:
            StorageUnavailable: The line is full, the time is over, or the database is gone.
        """
        caller: Deferred[Link] = Deferred(self._leave)
        if len(self._waiting) >= self._limit:
            caller.errback(StorageUnavailable("too many callers wait for the database"))
        else:
            self._waiting.append((self._reactor.seconds() + self._wait_s, caller))
        return caller

    def serve(self, link: Link) -> bool:
        """Give a connection to the first in line; False when there is nobody."""
        if not self._waiting:
            return False
        self._waiting.popleft()[1].callback(link)
        return True

    def expire(self) -> None:
        """Turn away those whose time is over. The first in line came first, so the rest need no look."""
        now = self._reactor.seconds()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].errback(StorageUnavailable("no connection to the database became free in time"))

    def turn_away(self, why: str) -> None:
        """Turn away everybody."""
        while self._waiting:
            self._waiting.popleft()[1].errback(StorageUnavailable(why))

    def _leave(self, caller: Deferred[Link]) -> None:
        self._waiting = deque(each for each in self._waiting if each[1] is not caller)
