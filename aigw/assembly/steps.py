"""What has been started, and how each of it is stopped."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from twisted.logger import Logger

Stop = Callable[[], Awaitable[None]]


def utc_ms() -> int:
    """The wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Steps:
    """The steps of a drain, which go in the opposite order of the boot."""

    _log = Logger()

    def __init__(self) -> None:
        self._stops: list[Stop] = []

    def add(self, stop: Stop) -> None:
        """Stop this before all that was added earlier."""
        self._stops.append(stop)

    def add_plain(self, stop: Callable[[], None]) -> None:
        """The same, for what stops in the same call."""
        self._stops.append(lambda: _call(stop))

    def add_below(self, stop: Stop) -> None:
        """Stop this right after what was added last."""
        self._stops.insert(-1, stop)

    async def undo(self) -> None:
        """Stop everything; a step that fails does not keep the others from theirs."""
        while self._stops:
            stop = self._stops.pop()
            try:
                await stop()
            except Exception:
                # The parts below still have to be stopped, whatever this one did.
                self._log.failure("a part of the gateway did not stop in order")


async def _call(stop: Callable[[], None]) -> None:
    stop()
