"""What is done to a store now and then, while it is in reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aigw.errors import AigwError

SWEEP_S = 10.0


class Sweeping:
    """
    Removes what has expired, one round at a time.

    Args:
        clock: For the pace.
        sweep: A round; it ends with an error when the store is away, and is tried again at the next.
    """

    _log = Logger()

    def __init__(self, clock: Any, sweep: Callable[[], Awaitable[None]]) -> None:
        self._sweep = sweep
        self._round: Deferred[None] | None = None
        self._pace = LoopingCall(self._begin)
        self._pace.clock = clock

    def start(self) -> None:
        """Begin."""
        self._pace.start(SWEEP_S, now=False).addErrback(
            lambda failure: self._log.failure("A defect in a store's sweep", failure)
        )

    async def stop(self) -> None:
        """End; a round that runs is left."""
        if self._pace.running:
            self._pace.stop()
        if self._round is not None:
            self._round.cancel()

    def _begin(self) -> None:
        if self._round is None:
            self._round = Deferred.fromCoroutine(self._once())
            self._round.addBoth(self._ended)

    async def _once(self) -> None:
        try:
            await self._sweep()
        except (AigwError, CancelledError):
            pass
        except Exception:
            # The next round tries again; without it the store would only grow.
            self._log.failure("What has expired could not be removed")

    def _ended(self, _: Any) -> None:
        self._round = None
