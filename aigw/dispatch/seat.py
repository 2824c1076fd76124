"""One exchange's part of a call that it may share with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from aigw.controls.cache import Made
from aigw.errors import GatewayError, InternalError
from aigw.interfaces import IUpstreamCall
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers
from aigw.values.usage import Usage

if TYPE_CHECKING:
    from aigw.dispatch.flight import Flight

# What a kept chunk takes beside its bytes: the object around them, and its place in the list.
CHUNK_BYTES = 48


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
        waiting: Whether it catches up, in a later turn: until then it takes nothing more.
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
        "waiting",
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
        self.waiting = False
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
        if self._serving or self.waiting or not self.flows:
            return
        self._serving = True
        try:
            self._tell()
        except Exception:
            # The others who share the call must get theirs.
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
        for _ in range(flight.memory.turn_chunks):
            if not self.flows:
                return
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
        self.waiting = True
        flight.turn(self._next_turn)
        flight.balance()

    def _next_turn(self) -> None:
        self.waiting = False
        self.serve()
        self._flight.balance()
        self._flight.trim()

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
            # As above.
            self._log.failure("A receiver failed when it was told of its call")


def _for_guests(status: int, headers: Headers) -> tuple[int, Headers]:
    """A head without what was meant for one client alone."""
    return status, tuple([field for field in headers if field[0] != b"set-cookie"])
