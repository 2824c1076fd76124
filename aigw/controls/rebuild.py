"""Budgets after a start: what was spent before this process began is read back from the log's ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import StorageUnavailable
from aigw.values.counting import Correction

RETRY_S = 0.5
# Behind an error that is no outage: somebody has to look into it first.
DEFECT_RETRY_S = 10.0


class Forgetful(Protocol):
    """Counters that begin at nothing with each process."""

    def load(self, sums: Iterable[Correction]) -> None:
        """Add what is known from before."""

    def rebuilt(self) -> None:
        """Everything was loaded: answer those who wait."""


class Rebuild:
    """
    Gives counters in memory what they held before the process began.

    Until it is done, requests under a budget wait for it, a few seconds at most, and then follow the gateway's choice
    for counters that cannot be reached. An exchange that a killed process had in flight counts with what was held for
    it, once its row is written.

    Args:
        counters: See there.
        older_shipped: Fires when the logs that dead processes left behind are in the database.
        load: Reads the sums of all processes but this one.
        clock: For another try.

    Attributes:
        done: Whether it is.
    """

    _log = Logger()

    def __init__(
        self,
        counters: Forgetful,
        older_shipped: Callable[[], Deferred[None]],
        load: Callable[[], Awaitable[Sequence[Correction]]],
        clock: Any,
    ) -> None:
        self._counters = counters
        self._older_shipped = older_shipped
        self._load = load
        self._clock = clock
        self._running: Deferred[None] | None = None
        self.done = False

    def start(self) -> None:
        """Begin; to be called once."""
        self._running = Deferred.fromCoroutine(self._rebuild())
        self._running.addErrback(self._ended)

    def stop(self) -> None:
        """Give up, unless it is done."""
        if self._running is not None:
            self._running.cancel()

    async def _rebuild(self) -> None:
        await self._older_shipped()
        sums = await self._sums()
        self._counters.load(sums)
        self._counters.rebuilt()
        self.done = True
        self._log.info("Budgets are known again: {count} sums were read", count=len(sums))

    async def _sums(self) -> Sequence[Correction]:
        """What was spent, as soon as the database tells."""
        while True:
            retry_s = RETRY_S
            try:
                return await self._load()
            except StorageUnavailable:
                pass
            except CancelledError:
                raise
            except Exception:
                # A defect that ended the loop would keep every budget shut until the next start.
                self._log.failure("What was spent cannot be read from the database")
                retry_s = DEFECT_RETRY_S
            await deferLater(self._clock, retry_s)

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("A defect in the rebuilding of budgets", failure)
