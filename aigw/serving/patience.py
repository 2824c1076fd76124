"""Waiting for something, but not for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


async def at_most(clock: IReactorTime, running: Deferred[Any], limit_s: float) -> bool:
    """
    Wait until something has ended, or its time is over.

    Cancelling alone would not do: a statement that a frozen server does not answer ends only with its connection.

    Args:
        clock: For the limit.
        running: Goes on when the time is over; its result and its errors stay with the caller.
        limit_s: Seconds.
    Returns:
        Whether it has ended, well or not.
    """
    over: Deferred[bool] = Deferred()
    overdue = clock.callLater(limit_s, over.callback, False)

    def ended(result: Any) -> Any:
        if overdue.active():
            overdue.cancel()
            over.callback(True)
        return result

    running.addBoth(ended)
    return await over
