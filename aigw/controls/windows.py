"""Windows of time, as rows of slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

# A sliding window is counted in so many parts: it never holds more than its limit, and gives room back at most this
# fraction of the window late.
SLIDING_SLOTS = 60

Period = Literal["hourly", "daily", "weekly", "monthly"]


@attrs.frozen
class Span:
    """
    A window at one moment.

    Attributes:
        slot: The slot of that moment.
        first: The oldest slot that still counts.
        expires_ms: When the slot will count no more; UTC, milliseconds since the epoch.
    """

    slot: int
    first: int
    expires_ms: int


@attrs.frozen
class Window:
    """
    A fixed or a sliding window.

    Attributes:
        slot_ms: How long a slot is.
        slots: How many of them count, the present one included.
    """

    slot_ms: int
    slots: int

    def at(self, now_ms: int) -> Span:
        """The window at a moment."""
        slot = now_ms // self.slot_ms
        return Span(slot, slot - self.slots + 1, (slot + self.slots) * self.slot_ms)

    def retry_after_s(self, now_ms: int, oldest: int) -> int:
        """Whole seconds until the slot that holds something longest counts no more."""
        return max(1, -(-((oldest + self.slots) * self.slot_ms - now_ms) // 1000))


@attrs.frozen
class NamedWindow(Window):
    """
    An interval of the calendar, by UTC: weeks begin on Monday, months on the first.

    Attributes:
        period: Which.
    """

    period: Period = "daily"

    def at(self, now_ms: int) -> Span:
        """The window at a moment; its slot is the interval's first second."""
        begin, end = _interval(self.period, now_ms)
        return Span(begin, begin, end * 1000)

    def retry_after_s(self, now_ms: int, oldest: int) -> int:
        """Whole seconds until the interval is over."""
        return max(1, -(-(_interval(self.period, now_ms)[1] * 1000 - now_ms) // 1000))


def fixed(window_s: int) -> Window:
    """Windows that follow each other, aligned to the clock."""
    return Window(window_s * 1000, 1)


def sliding(window_s: int) -> Window:
    """A window that ends now."""
    return Window(max(1, -(-window_s * 1000 // SLIDING_SLOTS)), SLIDING_SLOTS + 1)


def named(period: Period) -> Window:
    """An interval of the calendar."""
    return NamedWindow(0, 1, period)


def _interval(period: Period, now_ms: int) -> tuple[int, int]:
    """First second of the interval, and first second of the next."""
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if period == "hourly":
        begin, end = hour, hour + timedelta(hours=1)
    elif period == "daily":
        begin, end = day, day + timedelta(days=1)
    elif period == "weekly":
        begin = day - timedelta(days=day.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = day.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return int(begin.timestamp()), int(end.timestamp())
