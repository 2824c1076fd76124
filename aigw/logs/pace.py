"""When the shipper works, and when it lets the reactor do something else."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")


class Pace:
    """
    Pauses that others may cut short.

    Args:
        clock: Measures them.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pausing: IDelayedCall | None = None
        self._hurried = False

    @property
    def pausing(self) -> bool:
        """Whether a pause is under way."""
        return self._pausing is not None

    async def pause(self, seconds: float) -> None:
        """Do nothing for so long; or not at all, when `hurry` was called since the last pause."""
        over: Deferred[None] = Deferred()
        self._pausing = self._clock.callLater(0 if self._hurried else seconds, over.callback, None)
        self._hurried = False
        try:
            await over
        finally:
            if self._pausing.active():
                self._pausing.cancel()
            self._pausing = None
            self._hurried = False

    def hurry(self) -> None:
        """End the pause now; when there is none, leave out the next."""
        self._hurried = True
        self.at_most(0.0)

    def at_most(self, seconds: float) -> None:
        """Let the pause last no longer than this from now."""
        if self._pausing is not None and self._pausing.getTime() - self._clock.seconds() > seconds:
            self._pausing.reset(seconds)

    def breathe(self) -> Deferred[None]:
        """One turn of the reactor."""
        return deferLater(self._clock, 0)

    async def at_ease(self, work: Generator[None, None, T]) -> T:
        """Run work that yields now and then, with a turn of the reactor each time it does."""
        while True:
            try:
                next(work)
            except StopIteration as done:
                result: T = done.value
                return result
            await self.breathe()
