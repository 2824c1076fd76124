"""Timers behind one `callLater`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.wheel import SLOTS, Timer, Wheel


class WheelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock, tick_s=0.1)
        self.fired: list[str] = []

    def schedule(self, delay_s: float, name: str) -> Timer:
        return self.wheel.schedule(delay_s, lambda: self.fired.append(name))

    def test_fires_once_within_a_tick(self) -> None:
        """A clock of one second strikes after a second, a tenth later at most, and once."""
        self.schedule(1.0, "a")
        self.clock.advance(0.999)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.102)
        self.assertEqual(self.fired, ["a"])
        self.clock.advance(100)
        self.assertEqual(self.fired, ["a"])

    def test_one_delayed_call_for_all(self) -> None:
        """Ten thousand requests in flight cost the reactor one timer, and none when all are done."""
        timers = [self.schedule(1 + n / 100, str(n)) for n in range(10_000)]
        self.assertEqual((len(self.clock.getDelayedCalls()), len(self.wheel)), (1, 10_000))
        for timer in timers:
            timer.cancel()
        self.assertEqual((self.clock.getDelayedCalls(), len(self.wheel)), ([], 0))

    def test_empty_after_firing(self) -> None:
        """An idle gateway is not woken by a wheel that holds nothing."""
        timer = self.schedule(0.5, "a")
        self.clock.advance(0.7)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(timer.active)
        self.assertEqual(timer.remaining_s, 0.0)

    def test_beyond_the_last_slot(self) -> None:
        """A limit of an hour, longer than the wheel is round, is neither early nor late."""
        self.schedule(3600, "hour")
        for _ in range(36_000):
            self.clock.advance(0.1)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.2)
        self.assertEqual(self.fired, ["hour"])

    def test_reset_puts_it_off(self) -> None:
        """A stream that keeps talking never meets its idle clock; one that stops does."""
        timer = self.schedule(1.0, "idle")
        for _ in range(50):
            self.clock.advance(0.5)
            timer.reset(1.0)
        self.assertEqual(self.fired, [])
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["idle"])

    def test_reset_to_sooner(self) -> None:
        """A deadline brought forward is kept."""
        timer = self.schedule(60, "a")
        timer.reset(1)
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["a"])

    def test_reset_revives(self) -> None:
        """A timer that has struck, or was cancelled, can run again."""
        timer = self.schedule(1, "a")
        self.clock.advance(1.1)
        timer.reset(1)
        self.clock.advance(1.1)
        timer.reset(1)
        timer.cancel()
        timer.cancel()
        timer.reset(1)
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["a", "a", "a"])

    def test_sooner_timer_wakes_the_wheel(self) -> None:
        """A short clock that starts after a long one is not made to wait for it."""
        self.schedule(30, "long")
        self.schedule(1, "short")
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["short"])

    def test_cancelled_by_a_neighbour(self) -> None:
        """Of two clocks of one request that strike together, the first silences the second."""
        timers: list[Timer] = []

        def strike() -> None:
            self.fired.append("one")
            for timer in timers:
                timer.cancel()

        timers += [self.wheel.schedule(1, strike), self.wheel.schedule(1, strike)]
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["one"])

    def test_a_failing_call_harms_no_other(self) -> None:
        """A defect in one request's timeout is logged; the others' clocks go on."""
        self.wheel.schedule(1, lambda: 1 / 0)
        self.schedule(1, "b")
        self.schedule(2, "c")
        self.clock.advance(1.1)
        self.clock.advance(1.1)
        self.assertEqual(sorted(self.fired), ["b", "c"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_rescheduled_from_within(self) -> None:
        """A pace kept by a timer that schedules the next one does not stop the reactor's turn from ending."""
        self.wheel.schedule(0, lambda: self.schedule(0, "again"))
        self.clock.advance(0.1)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.1)
        self.assertEqual(self.fired, ["again"])

    def test_long_sleep(self) -> None:
        """After the machine slept longer than the wheel is round, every deadline that has passed strikes."""
        for n in range(3):
            self.schedule(n * SLOTS * 0.1 / 3, str(n))
        self.clock.advance(10 * SLOTS * 0.1)
        self.assertEqual(sorted(self.fired), ["0", "1", "2"])

    def test_rounding(self) -> None:
        """Where a tick's time is rounded down into the tick before it, the reactor does not spin in place."""
        self.clock.rightNow = 32.500869257465716
        wheel = Wheel(self.clock, tick_s=0.002)
        wheel.schedule(0.0785, lambda: self.fired.append("a"))
        (wake,) = self.clock.getDelayedCalls()
        self.assertLess(wake.getTime() / 0.002, 16290)
        self.clock.advance(wake.getTime() - self.clock.seconds())
        self.assertEqual(self.fired, ["a"])

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0, 200), st.one_of(st.none(), st.floats(0, 200))), max_size=20),
        st.lists(st.floats(0.01, 90), min_size=1, max_size=30),
    )
    def test_never_early_never_late(self, plan: list[tuple[float, float | None]], steps: list[float]) -> None:
        """Whatever clocks run and however time passes, each strikes after its deadline and within one tick of it."""
        clock = Clock()
        wheel = Wheel(clock, tick_s=0.1)
        fired: dict[int, float] = {}
        due: dict[int, float] = {}
        for n, (delay_s, again_s) in enumerate(plan):
            timer = wheel.schedule(delay_s, lambda n=n: fired.setdefault(n, clock.seconds()))
            due[n] = delay_s
            if again_s is not None:
                timer.reset(again_s)
                due[n] = again_s
        for step in [*steps, 300.0]:
            before = clock.seconds()
            clock.advance(step)
            for n, deadline in due.items():
                if n in fired:
                    self.assertGreaterEqual(fired[n], deadline)
                else:
                    self.assertGreater(deadline + 0.11, before + step)
        self.assertEqual(fired.keys(), due.keys())
        self.assertEqual(clock.getDelayedCalls(), [])
