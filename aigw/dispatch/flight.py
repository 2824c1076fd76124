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
from twisted.logger import Logger
from zope.interface import implementer

from aigw.controls.cache import Cache, CachePlan, Made
from aigw.errors import FellBehind, GatewayError, InternalError
from aigw.interfaces import IUpstreamCall, IUpstreamReceiver
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers
from aigw.values.usage import Usage

# What a kept chunk takes beside its bytes: the object around them, and its place in the list.
CHUNK_BYTES = 48


@attrs.define
class Memory:
    """
    The room that flights have.

    Attributes:
        flight_bytes: For one: beyond it, the answer is neither kept nor joined any more, and a seat that is so far
            behind the fastest is given up.
        total_bytes: For all: beyond it, answers are neither kept nor joined.
        held_bytes: What all of them hold now.
    """

    flight_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    held_bytes: int = 0


@implementer(IUpstreamReceiver)
class Flight:
    """
    Args:
        plan: Of the step that started it.
        cache: Takes the answer once it is whole.
        memory: See there.
        unlist: Called with the flight when nobody may join it any more; more often than once.

    Attributes:
        plan: As given.
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
        "_memory",
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
        "plan",
    )

    def __init__(self, plan: CachePlan, cache: Cache, memory: Memory, unlist: Callable[[Flight], None]) -> None:
        self.plan = plan
        self._cache = cache
        self._memory = memory
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
        flowing = any(seat.flows for seat in self._seats)
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
        self._memory.held_bytes -= self._held_bytes
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
        memory = self._memory
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
        memory = self._memory
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
        self._memory.held_bytes -= freed

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


@implementer(IUpstreamCall)
class Seat:
    """
    One exchange's part of a flight. Nothing is told before `begin`.

    Args:
        flight: See there.
        receiver: The exchange, an `IUpstreamReceiver`. What it raises harms nobody else.
        guest: Whether the call was another's idea.

    Attributes:
        guest: As given.
        at: Number of the chunk that comes next.
        read_bytes: What it was told, counted as it is held.
        flows: Whether it takes what comes.
        owns: Whether the cost of the call is this exchange's: that of exactly one at any time, also after its end.
    """

    _log = Logger()

    __slots__ = (
        "_begun",
        "_flight",
        "_headed",
        "_over",
        "_paused",
        "_receiver",
        "_serving",
        "at",
        "flows",
        "guest",
        "owns",
        "read_bytes",
    )

    def __init__(self, flight: Flight, receiver: Any, guest: bool) -> None:
        self._flight = flight
        self._receiver = receiver
        self.guest = guest
        self._begun = False
        self._paused = False
        self._headed = False
        self._over = False
        self._serving = False
        self.at = 0
        self.read_bytes = 0
        self.flows = False
        self.owns = not guest

    @property
    def made(self) -> Made | None:
        """What somebody who read the answer to its end told of it; None while nobody has."""
        return self._flight.made

    def vouch(self, model: str, usage: Usage | None, log_id: str) -> CachedAnswer | None:
        """
        Tell that the answer is whole and no error; for within `completed`. The first to do so has it kept.

        Args:
            model: As the answer names it.
            usage: As the answer tells it.
            log_id: Of the exchange.
        Returns:
            The answer as it is kept, to the first; None to the others, and when it is not kept.
        """
        return self._flight.vouch(Made(model, usage, log_id))

    # What the exchange does -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Hear what has come, and what comes."""
        self._begun = True
        self._go_on()

    def pause(self) -> None:
        """See `IUpstreamCall`."""
        if not self._paused:
            self._paused = True
            self.flows = False
            self._flight.balance()

    def resume(self) -> None:
        """See `IUpstreamCall`."""
        if self._paused:
            self._paused = False
            self._go_on()

    def stop(self) -> None:
        """See `IUpstreamCall`."""
        if not self._over:
            self._end()
            self._flight.leave(self, early=True)

    def _go_on(self) -> None:
        if self._over or self._paused or not self._begun:
            return
        self.flows = True
        self.serve()
        self._flight.balance()
        self._flight.trim()

    def _end(self) -> None:
        self._over = True
        self.flows = False

    # What the flight does -------------------------------------------------------------------------------------------

    def resent(self) -> None:
        """The call went out once more."""
        if not self._headed:
            self._guarded(self._receiver.resent)

    def serve(self) -> None:
        """Tell what has come since."""
        # A receiver may pause and resume within what it is told.
        if self._serving or not self.flows:
            return
        self._serving = True
        try:
            self._tell()
        except Exception:
            self._log.failure("A receiver failed in the middle of an answer")
            self.fail(InternalError(), early=True)
        finally:
            self._serving = False

    def _tell(self) -> None:
        flight, receiver = self._flight, self._receiver
        if not self._headed:
            if flight.head_told is None:
                return
            self._headed = True
            receiver.head(*(_for_guests(*flight.head_told) if self.guest else flight.head_told))
        chunks = flight.chunks
        while self.flows:
            index = self.at - flight.base
            if index < len(chunks):
                chunk = chunks[index]
                self.at += 1
                self.read_bytes += len(chunk) + CHUNK_BYTES
                receiver.data(chunk)
            elif flight.ended:
                self._complete()
            else:
                return

    def _complete(self) -> None:
        self._end()
        self._guarded(self._receiver.completed)
        self._flight.leave(self, early=False)

    def fail(self, error: GatewayError, *, early: bool) -> None:
        """
        There is no more of the answer for this seat.

        Args:
            error: For its receiver.
            early: As for `Flight.leave`.
        """
        if self._over:
            return
        self._end()
        self._flight.leave(self, early)
        self._guarded(self._receiver.failed, error)

    def _guarded(self, tell: Callable[..., object], *told: object) -> None:
        try:
            tell(*told)
        except Exception:
            self._log.failure("A receiver failed when it was told of its call")


def _for_guests(status: int, headers: Headers) -> tuple[int, Headers]:
    """A head without what was meant for one client alone."""
    return status, tuple([field for field in headers if field[0] != b"set-cookie"])
