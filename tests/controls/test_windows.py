"""When windows begin, end and count."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.windows import Period, Window, fixed, named, sliding
from aigw.state.memory_counters import MemoryCounters
from aigw.values.counting import Charge, Verdict


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class FixedTests(SynchronousTestCase):
    def test_windows_follow_the_clock(self) -> None:
        """A budget by the hour begins anew with each hour of the clock, not an hour after the first request."""
        window = fixed(3600)
        self.assertEqual(window.at(ms("2026-11-23T15:00:00")).slot, window.at(ms("2026-11-23T15:59:59.999")).slot)
        self.assertNotEqual(window.at(ms("2026-11-23T15:59:59.999")).slot, window.at(ms("2026-11-23T16:00:00")).slot)
        self.assertEqual(window.at(ms("2026-11-23T15:20:00")).expires_ms, ms("2026-11-23T16:00:00"))

    def test_when_to_come_back(self) -> None:
        """`Retry-After` leads to the next window, and never into the one that is full."""
        window = fixed(60)
        for moment, seconds in (("15:00:00", 60), ("15:00:30.500", 30), ("15:00:59.999", 1)):
            now_ms = ms(f"2026-11-23T{moment}")
            self.assertEqual(window.retry_after_s(now_ms, window.at(now_ms).slot), seconds)
            self.assertGreaterEqual(now_ms + 1000 * seconds, window.at(now_ms).expires_ms)

    def test_the_clock_may_be_set_back(self) -> None:
        """A clock that goes back does not leave requests in a window to come."""
        window = fixed(60)
        before = window.at(ms("2026-11-23T15:00:30"))
        window.at(ms("2026-11-23T15:01:30"))
        self.assertEqual(window.at(ms("2026-11-23T15:00:31")), before)


class CalendarTests(SynchronousTestCase):
    def test_intervals(self) -> None:
        """Hours, days, weeks from Monday and months from the first, by UTC; also where summer time would change."""
        cases: list[tuple[Period, str, str, str]] = [
            ("hourly", "2026-11-23T15:59:59", "2026-11-23T15:00:00", "2026-11-23T16:00:00"),
            ("daily", "2026-03-29T12:00:00", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
            ("weekly", "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
            ("weekly", "2026-11-22T23:59:59.999", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
            ("weekly", "2027-01-01T08:00:00", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
            ("monthly", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
            ("monthly", "2028-02-29T10:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
            ("monthly", "2026-01-31T10:00:00", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
        ]
        for period, now, begin, end in cases:
            with self.subTest(period=period, now=now):
                span = named(period).at(ms(now))
                self.assertEqual(
                    (span.slot * 1000, span.begins_ms, span.first, span.expires_ms),
                    (ms(begin), ms(begin), span.slot, ms(end)),
                )
                self.assertEqual(named(period).retry_after_s(ms(now), span.slot), -(-(ms(end) - ms(now)) // 1000))

    @given(st.sampled_from(["hourly", "daily", "weekly", "monthly"]), st.lists(st.integers(0, 4_000_000_000_000)))
    def test_every_moment_is_in_its_interval(self, period: Period, moments: list[int]) -> None:
        """Whatever the order in which moments are asked, each lies in the interval that is told."""
        window = named(period)
        for now_ms in moments:
            span = window.at(now_ms)
            self.assertTrue(span.begins_ms <= now_ms < span.ends_ms == span.expires_ms)
            self.assertEqual(window.at(span.ends_ms).begins_ms, span.ends_ms)


class SlidingTests(SynchronousTestCase):
    @given(
        st.integers(1, 500),
        st.integers(1, 6),
        st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 3)), min_size=1, max_size=60),
    )
    def test_never_over_the_limit(self, window_s: int, limit: int, asks: list[tuple[int, int]]) -> None:
        """Whenever a stretch as long as the window begins, no more than the limit was let through in it."""
        now_ms = 1_795_456_000_123
        window = sliding(window_s)
        counters = MemoryCounters(Clock(), lambda: now_ms)
        passed: list[tuple[int, int]] = []
        for pause_ms, amount in asks:
            now_ms += pause_ms
            recent = sum(taken for at, taken in passed if at > now_ms - window_s * 1000)
            amount = min(amount, limit)
            if take(counters, window, now_ms, amount, limit):
                self.assertLessEqual(recent + amount, limit)
                passed.append((now_ms, amount))
            else:
                # Room is given back late by one part of the window at most.
                older = now_ms - window_s * 1000 - 2 * window.slot_ms
                self.assertGreater(sum(taken for at, taken in passed if at > older) + amount, limit)

    def test_no_gap_at_the_edges(self) -> None:
        """Wherever in a part of the window a request came, it counts for the window's whole length."""
        window = sliding(60)
        for offset_ms in (0, window.slot_ms // 2, window.slot_ms - 1):
            begin_ms = 1_795_456_000_000 // window.slot_ms * window.slot_ms + offset_ms
            counters = MemoryCounters(Clock(), lambda now_ms=begin_ms: now_ms)
            self.assertTrue(take(counters, window, begin_ms, 1, 1))
            self.assertFalse(take(counters, window, begin_ms + 59_999, 1, 1))

    def test_room_comes_back_as_told(self) -> None:
        """A client that waits as `Retry-After` says finds room, and no earlier."""
        now_ms = 1_795_456_000_123
        window = sliding(60)
        counters = MemoryCounters(Clock(), lambda: now_ms)
        self.assertTrue(take(counters, window, now_ms, 1, 1))
        oldest = window.at(now_ms).slot
        now_ms += 20_000
        seconds = window.retry_after_s(now_ms, oldest)
        self.assertFalse(take(counters, window, now_ms + 1000 * (seconds - 2), 1, 1))
        self.assertTrue(take(counters, window, now_ms + 1000 * seconds, 1, 1))


def take(counters: MemoryCounters, window: Window, now_ms: int, amount: int, limit: int) -> bool:
    """Whether an amount fits, and is taken then."""
    span = window.at(now_ms)
    verdict = counters.take([Charge("key", span.slot, span.first, amount, amount, limit, span.expires_ms)])
    assert isinstance(verdict, Verdict)
    return verdict.refused < 0
