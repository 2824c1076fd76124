"""
One call to a provider, for any number of exchanges that ask the same.

What comes is kept once, in the order of its coming, and each seat reads along it at its own pace. The provider is
paused only while no seat takes anything; a seat that lags too far behind is given up, so that it neither holds the
others back nor fills the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from zope.interface import implementer

from aigw.controls.cache import Cache, CachePlan, Made
from aigw.dispatch.seat import CHUNK_BYTES, Seat
from aigw.errors import FellBehind, GatewayError
from aigw.interfaces import IUpstreamCall, IUpstreamReceiver
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers

Turn = Callable[[Callable[[], None]], object]


@attrs.define
class Memory:
    """
    The room that flights have, and their share of a turn.

    Attributes:
        flight_bytes: For one: beyond it, the answer is neither kept nor joined any more, and a seat that is so far
            behind the fastest is given up.
        total_bytes: For all: beyond it, answers are neither kept nor joined.
        turn_chunks: Pieces that one who catches up is told before others get their turn.
        held_bytes: What all of them hold now.
    """

    flight_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    turn_chunks: int = 128
    held_bytes: int = 0


@implementer(IUpstreamReceiver)
class Flight:
    """
    Args:
        plan: Of the step that started it.
        cache: Takes the answer once it is whole.
        memory: See there.
        turn: Calls back in a later turn of the reactor.
        unlist: Called with the flight when nobody may join it any more; more often than once.

    Attributes:
        plan, memory, turn: As given.
        listed: Whether others may join.
        made: What a seat told of the answer, once one has read it to its end.
        head_told: Status and header fields, None until they have come.
        chunks: Of the body, from number `base` on.
        base: Number of the first chunk that is held.
        ended: Whether the call is over.
    """

    __slots__ = (
        "_cache",
        "_call",
        "_flowing",
        "_held_bytes",
        "_resends",
        "_seats",
        "_unlist",
        "_whole",
        "base",
        "chunks",
        "ended",
        "head_told",
        "listed",
        "made",
        "memory",
        "plan",
        "turn",
    )

    def __init__(
        self, plan: CachePlan, cache: Cache, memory: Memory, turn: Turn, unlist: Callable[[Flight], None]
    ) -> None:
        self.plan = plan
        self.turn = turn
        self._cache = cache
        self.memory = memory
        self._unlist = unlist
        self._call: IUpstreamCall | None = None
        # Replaced, never changed, so that whoever goes through it may be left on the way.
        self._seats: tuple[Seat, ...] = ()
        self._flowing = True
        self._resends = 0
        self._held_bytes = 0
        # Whether `chunks` reach back to the beginning.
        self._whole = True
        self.listed = False
        self.made: Made | None = None
        self.head_told: tuple[int, Headers] | None = None
        self.chunks: list[bytes] = []
        self.base = 0
        self.ended = False

    # Who sits in it -------------------------------------------------------------------------------------------------

    def start(self, start: Callable[[Any], IUpstreamCall]) -> None:
        """
        Make the call.

        Args:
            start: Given the flight as its receiver, which is not called before `start` has returned.
        """
        self._call = start(self)

    def join(self, receiver: Any) -> Seat:
        """A seat for one more exchange, which hears everything from the beginning."""
        seat = Seat(self, receiver, guest=bool(self._seats))
        self._seats = (*self._seats, seat)
        return seat

    def leave(self, seat: Seat, early: bool) -> None:
        """
        A seat is over.

        Args:
            seat: Of this flight.
            early: Whether it goes before the answer's end; the cost of the call is then another's, if there is one.
        """
        self._seats = seats = tuple([each for each in self._seats if each is not seat])
        if not seats:
            self._dispose()
            return
        if early and seat.owns:
            seat.owns = False
            seats[0].owns = True
        self.balance()
        self.trim()

    def balance(self) -> None:
        """Pause the provider while no seat takes anything."""
        call = self._call
        flowing = any(seat.flows and not seat.waiting for seat in self._seats)
        if flowing is self._flowing or call is None or self.ended:
            return
        self._flowing = flowing
        if flowing:
            call.resume()
        else:
            call.pause()

    def _dispose(self) -> None:
        """Nobody is left."""
        self._unlist(self)
        self.memory.held_bytes -= self._held_bytes
        self._held_bytes = 0
        self.chunks.clear()
        call, self._call = self._call, None
        if call is not None and not self.ended:
            self.ended = True
            call.stop()

    # What the provider does -----------------------------------------------------------------------------------------

    def resent(self) -> None:
        """See `IUpstreamReceiver`; it concerns those who sit here now."""
        for seat in self._seats:
            seat.resent()

    def head(self, status: int, headers: Headers) -> None:
        """See `IUpstreamReceiver`."""
        self.head_told = (status, headers)
        if not 200 <= status < 300:
            # Whoever comes now tries anew, as those who are here may.
            self._unlist(self)
        if not self.listed and not self._cache.takes(status, headers):
            self._whole = False
        for seat in self._seats:
            seat.serve()

    def data(self, chunk: bytes) -> None:
        """See `IUpstreamReceiver`."""
        memory = self.memory
        size = len(chunk) + CHUNK_BYTES
        self._held_bytes += size
        memory.held_bytes += size
        self.chunks.append(chunk)
        for seat in self._seats:
            seat.serve()
        if not self._whole or self._held_bytes > memory.flight_bytes or memory.held_bytes > memory.total_bytes:
            self.trim()

    def completed(self) -> None:
        """See `IUpstreamReceiver`."""
        self.ended = True
        self._unlist(self)
        for seat in self._seats:
            seat.serve()

    def failed(self, error: GatewayError) -> None:
        """See `IUpstreamReceiver`; each exchange sees for itself what it does then."""
        self.ended = True
        self._unlist(self)
        for seat in self._seats:
            seat.fail(error, early=False)

    # What is held ---------------------------------------------------------------------------------------------------

    def trim(self) -> None:
        """Let go of what everybody has, unless all of it is still wanted and there is room."""
        memory = self.memory
        if self._whole:
            if self._held_bytes <= memory.flight_bytes and memory.held_bytes <= memory.total_bytes:
                return
            self._whole = False
            self._unlist(self)
        seats = self._seats
        if len(seats) > 1:
            fastest = max([seat.read_bytes for seat in seats])
            for seat in seats:
                if fastest - seat.read_bytes > memory.flight_bytes:
                    seat.fail(FellBehind(), early=True)
            seats = self._seats
        if seats:
            self._release(min([seat.at for seat in seats]) - self.base)

    def _release(self, count: int) -> None:
        """Let go of so many chunks."""
        chunks = self.chunks
        if count == len(chunks):
            freed = self._held_bytes
            chunks.clear()
        else:
            freed = sum([len(chunk) + CHUNK_BYTES for chunk in chunks[:count]])
            del chunks[:count]
        self.base += count
        self._held_bytes -= freed
        self.memory.held_bytes -= freed

    def vouch(self, made: Made) -> CachedAnswer | None:
        """
        A seat has read the answer to its end, and found it good; it is kept in the cache now.

        Args:
            made: What the seat knows of it.
        Returns:
            The answer as it is kept, for the first seat only; None when it is not kept.
        """
        if self.made is not None or not self.ended or self.head_told is None:
            return None
        self.made = made
        if not self._whole:
            self._cache.counts.unfit += 1
            return None
        chunks = self.chunks
        return self._cache.offer(self.plan, *self.head_told, chunks[0] if len(chunks) == 1 else b"".join(chunks), made)
