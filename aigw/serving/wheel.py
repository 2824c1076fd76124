"""A timer wheel: thousands of deadlines behind one `callLater`."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

# Deadlines beyond the last slot are filed there and filed again when it turns up: once in 51 s at a tick of 0.1 s.
SLOTS = 512


class Timer:
    """
    One deadline on a `Wheel`. It can be cancelled and reset at any moment, also after it has fired.

    Attributes:
        call: What is called at the deadline.
    """

    __slots__ = ("_deadline_s", "_slot", "_turn_s", "_wheel", "call")

    def __init__(self, wheel: Wheel, call: Callable[[], object]) -> None:
        self._wheel = wheel
        self._deadline_s = 0.0
        # When the slot that holds this timer turns up.
        self._turn_s = 0.0
        self._slot: set[Timer] | None = None
        self.call = call

    @property
    def active(self) -> bool:
        """True while the call is still to come."""
        return self._slot is not None

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; 0 when it has passed or was cancelled."""
        if self._slot is None:
            return 0.0
        return max(0.0, self._deadline_s - self._wheel.seconds())

    def reset(self, delay_s: float) -> None:
        """
        Move the deadline to `delay_s` seconds from now; a timer that has fired or was cancelled runs again.

        A deadline behind the turn of its slot is only noted: the timer is filed again when that slot turns up. So a
        clock which every chunk of a stream winds up costs next to nothing.
        """
        deadline_s = self._wheel.seconds() + delay_s
        if self._slot is None or deadline_s < self._turn_s:
            self._wheel.file(self, deadline_s)
        else:
            self._deadline_s = deadline_s

    def cancel(self) -> None:
        """Forget the deadline. Does nothing when there is none."""
        self._wheel.drop(self)


class Wheel:
    """
    Calls back after delays, to the precision of one tick, never early.

    Filing, moving and cancelling are O(1). The wheel keeps one `callLater` for all its timers, due at the next slot
    that holds any, and none when it is empty.

    Args:
        clock: Tells the time and wakes the wheel.
        tick_s: Width of a slot in seconds: how late a call may come.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick_s: float = 0.1) -> None:
        self._clock = clock
        self._tick_s = tick_s
        self._slots: list[set[Timer]] = [set() for _ in range(SLOTS)]
        self._count = 0
        # The last tick whose slot was emptied; every filed timer is at a later one.
        self._tick = 0
        self._wake: IDelayedCall | None = None
        self._wake_tick = 0
        self.seconds: Callable[[], float] = clock.seconds

    def __len__(self) -> int:
        """How many timers are running."""
        return self._count

    def schedule(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """
        Call back once.

        Args:
            delay_s: Seconds from now.
            call: What it raises is logged and harms no other timer.
        Returns:
            The timer, to cancel or reset.
        """
        timer = Timer(self, call)
        self.file(timer, self.seconds() + delay_s)
        return timer

    def file(self, timer: Timer, deadline_s: float) -> None:
        """Put a timer of this wheel into the slot of its deadline; for `Timer` alone."""
        if timer._slot is not None:
            timer._slot.discard(timer)
            self._count -= 1
        if not self._count:
            # Nothing turned the wheel while it was empty.
            self._tick = max(self._tick, floor(self.seconds() / self._tick_s))
        # The tick after the deadline, so that the call is never early.
        due = floor(deadline_s / self._tick_s) + 1
        tick = min(max(due, self._tick + 1), self._tick + SLOTS - 1)
        slot = self._slots[tick % SLOTS]
        slot.add(timer)
        timer._slot = slot
        timer._turn_s = tick * self._tick_s
        timer._deadline_s = deadline_s
        self._count += 1
        if self._wake is None or tick < self._wake_tick:
            self._wake_at(tick)

    def drop(self, timer: Timer) -> None:
        """Take a timer out of its slot, if one holds it; for `Timer` alone."""
        if timer._slot is None:
            return
        timer._slot.discard(timer)
        timer._slot = None
        self._count -= 1
        if not self._count and self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _wake_at(self, tick: int) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake_tick = tick
        self._wake = self._clock.callLater(max(0.0, tick * self._tick_s - self.seconds()), self._turn)

    def _turn(self) -> None:
        """Empty every slot that is due; then sleep until the next one that holds a timer."""
        self._wake = None
        now_s = self.seconds()
        # Rounding may put the time a hair before the tick that we were woken for.
        last = max(floor(now_s / self._tick_s), self._wake_tick)
        # After a long sleep or a step of the clock, one round meets every slot.
        first = max(self._tick + 1, last - SLOTS + 1)
        self._tick = last
        for tick in range(first, last + 1):
            slot = self._slots[tick % SLOTS]
            if slot:
                # Timers filed from here on may belong into this slot's next round.
                self._slots[tick % SLOTS] = set()
                self._empty(slot, now_s)
        if self._count:
            self._wake_at(self._next_tick())

    def _empty(self, slot: set[Timer], now_s: float) -> None:
        # One by one: a call may cancel or reset those that are still in the slot.
        while slot:
            timer = slot.pop()
            timer._slot = None
            self._count -= 1
            if timer._deadline_s > now_s:
                self.file(timer, timer._deadline_s)
                continue
            try:
                timer.call()
            except Exception:
                self._log.failure("A timer's call failed")

    def _next_tick(self) -> int:
        """The first tick to come whose slot holds a timer; there is one."""
        return next(tick for tick in range(self._tick + 1, self._tick + SLOTS) if self._slots[tick % SLOTS])
