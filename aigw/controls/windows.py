"""Windows of time, as rows of slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs
import msgspec

# A sliding window is counted in so many parts: it never holds more than its limit, and gives room back at most this
# fraction of the window late.
SLIDING_SLOTS = 60

Period = Literal["hourly", "daily", "weekly", "monthly"]


class Span(msgspec.Struct, frozen=True, gc=False):
    """
    A window at one moment. All times are UTC, milliseconds since the epoch.

    Attributes:
        slot: The slot of that moment.
        first: The oldest slot that still counts.
        expires_ms: When the slot will count no more.
        begins_ms, ends_ms: The slot's own time, its end not included.
    """

    slot: int
    first: int
    expires_ms: int
    begins_ms: int
    ends_ms: int


_NEVER = Span(0, 0, 0, 0, 0)


@attrs.define
class Window:
    """
    A fixed or a sliding window.

    Attributes:
        slot_ms: How long a slot is.
        slots: How many of them count, the present one included.
    """

    slot_ms: int
    slots: int
    # The last answer: it holds for every request of the same slot.
    _span: Span = attrs.field(default=_NEVER, init=False, eq=False, repr=False)

    def at(self, now_ms: int) -> Span:
        """The window at a moment."""
        span = self._span
        if not span.begins_ms <= now_ms < span.ends_ms:
            span = self._span = self._make(now_ms)
        return span

    def _make(self, now_ms: int) -> Span:
        slot = now_ms // self.slot_ms
        begins_ms = slot * self.slot_ms
        return Span(
            slot, slot - self.slots + 1, begins_ms + self.slots * self.slot_ms, begins_ms, begins_ms + self.slot_ms
        )

    def retry_after_s(self, now_ms: int, oldest: int) -> int:
        """Whole seconds until the slot that holds something longest counts no more; 1 at least."""
        return max(1, -(-((oldest + self.slots) * self.slot_ms - now_ms) // 1000))

    def round(self, span: Span) -> int:
        """What a span has in common with others of the same window; a sliding window begins a new one as it ends."""
        return span.slot // self.slots

    def reset_s(self, now_ms: int) -> int:
        """Whole seconds until what is taken now counts no more; 1 at least."""
        return max(1, -(-(self.at(now_ms).expires_ms - now_ms) // 1000))


@attrs.define
class NamedWindow(Window):
    """
    An interval of the calendar, by UTC: weeks begin on Monday, months on the first.

    Attributes:
        period: Which.
    """

    period: Period = attrs.field(default="daily", kw_only=True)

    def _make(self, now_ms: int) -> Span:
        """A slot is named by its first second."""
        begin, end = _interval(self.period, now_ms)
        return Span(begin, begin, end * 1000, begin * 1000, end * 1000)

    def retry_after_s(self, now_ms: int, oldest: int) -> int:
        """Whole seconds until the interval is over; 1 at least."""
        return self.reset_s(now_ms)


def fixed(window_s: int) -> Window:
    """Windows that follow each other, aligned to the clock."""
    return Window(window_s * 1000, 1)


def sliding(window_s: int) -> Window:
    """A window that ends now."""
    # One slot more than the window is long: the present one is never full.
    return Window(-(-window_s * 1000 // SLIDING_SLOTS), SLIDING_SLOTS + 1)


def named(period: Period) -> Window:
    """An interval of the calendar."""
    return NamedWindow(0, 1, period=period)


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
