"""Single flight: who asks what somebody is asking already sits down beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigw.controls.cache import Cache, CachePlan
from aigw.dispatch.flight import Flight, Memory, Turn
from aigw.dispatch.seat import Seat
from aigw.interfaces import IUpstreamCall

# Flights that others may find. Beyond that, a call is its exchange's own.
LISTED = 10_000


class Flights:
    """
    All calls whose answers are recorded: for the cache, for others, or both.

    Args:
        cache: Takes whole answers.
        turn: Calls back in a later turn of the reactor.
        memory: What all of them may hold.
        listed: How many may be found at a time.

    Attributes:
        memory: As given.
        joined: How many seats were taken in a flight that was another's idea.
    """

    def __init__(self, cache: Cache, turn: Turn, memory: Memory | None = None, listed: int = LISTED) -> None:
        self._cache = cache
        self._turn = turn
        self._most = listed
        self._listed: dict[bytes, Flight] = {}
        self._promised: dict[bytes, object] = {}
        self.memory = memory or Memory()
        self.joined = 0

    def __len__(self) -> int:
        """How many flights may be joined now."""
        return len(self._listed)

    def has(self, plan: CachePlan) -> bool:
        """Whether a call for a step is under way, or about to be: such a step reserves nothing."""
        return plan.shared and (plan.key in self._listed or plan.key in self._promised)

    def flies(self, plan: CachePlan) -> bool:
        """Whether `board` would ask no provider."""
        return plan.shared and plan.key in self._listed

    def promise(self, plan: CachePlan, by: object) -> None:
        """A call for a step will be made as soon as its log allows; who asks the same meanwhile may wait for it."""
        if len(self._promised) < self._most:
            self._promised.setdefault(plan.key, by)

    def forget(self, plan: CachePlan, by: object) -> None:
        """A promise is kept, or will not be; that of somebody else stays."""
        if self._promised.get(plan.key) is by:
            del self._promised[plan.key]

    def board(self, plan: CachePlan, start: Callable[[Any], IUpstreamCall], receiver: Any) -> Seat:
        """
        A seat in the call for a step.

        Args:
            plan: Of the step.
            start: Makes the call for a receiver that it is given; not called when there is one already.
            receiver: The exchange.
        Returns:
            The exchange's call. It is silent until its `begin`.
        Raises:
            GatewayError: As `start`.
        """
        flight = self._listed.get(plan.key) if plan.shared else None
        if flight is not None:
            self.joined += 1
            return flight.join(receiver)
        flight = Flight(plan, self._cache, self.memory, self._turn, self._unlist)
        seat = flight.join(receiver)
        flight.start(start)
        if plan.shared and len(self._listed) < self._most:
            flight.listed = True
            self._listed[plan.key] = flight
        return seat

    def _unlist(self, flight: Flight) -> None:
        if flight.listed:
            flight.listed = False
            del self._listed[flight.plan.key]
