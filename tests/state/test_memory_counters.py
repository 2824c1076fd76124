"""Counters of one process."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.errors import StateUnavailable
from aigw.state.memory_counters import SWEEP_S, MemoryCounters
from aigw.state.settings import StateSettings
from aigw.values.counting import Charge, Correction, Verdict
from tests.state.counters_contract import HOUR_MS, NOW_MS, CountersContract, charge, correction
from tests.state.model import Model


class ContractTests(CountersContract, TestCase):
    """What holds for all stores."""

    def setUp(self) -> None:
        """A store."""
        self.counters = MemoryCounters(Clock(), lambda: NOW_MS)
        self.others = (self.counters, self.counters)


class BoundTests(SynchronousTestCase):
    """How much a store holds."""

    def setUp(self) -> None:
        """A small store whose time stands still."""
        self.clock = Clock()
        self.now_ms = NOW_MS
        self.counters = MemoryCounters(self.clock, lambda: self.now_ms, StateSettings(counters=3))

    def test_full_store(self) -> None:
        """A full store turns new counters away, goes on with those that it has, and says how often."""
        for key in "abc":
            self.counters.take([charge(key)])
        with self.assertRaises(StateUnavailable):
            self.counters.take([charge("a"), charge("d")])
        self.assertEqual(self.counters.turned_away, 1)
        self.assertEqual(self.counters.take([charge("a")]), Verdict(-1, (2,)))
        self.counters.settle([correction(5, "d"), correction(5, "a")])
        self.assertEqual(self.counters.dropped, 1)
        self.assertEqual(self.counters.read([charge("a"), charge("d")]), (7, 0))

    def test_share_of_a_rule(self) -> None:
        """Whoever makes up values for one rule takes no room from the others, and is named."""
        counters = MemoryCounters(self.clock, lambda: self.now_ms, StateSettings(counters=6))
        for value in "abc":
            counters.take([charge(f"rate:one|{value}")])
        self.assertEqual(counters.crowded(), ["counters of rate:one are full: 3"])
        with self.assertRaises(StateUnavailable):
            counters.take([charge("rate:one|d"), charge("rate:two|d")])
        counters.settle([correction(5, "rate:one|e")])
        self.assertEqual((counters.turned_away, counters.dropped, len(counters)), (1, 1, 3))
        self.assertEqual(counters.take([charge("rate:one|a"), charge("rate:two|a")]), Verdict(-1, (2, 1)))
        self.now_ms += HOUR_MS
        self.assertEqual(counters.take([charge("rate:one|d")]), Verdict(-1, (1,)))
        self.assertEqual(counters.crowded(), [])

    def test_refusal_in_a_full_store(self) -> None:
        """A request beyond its limit is told so, though there would be no room to count it."""
        for key in "abc":
            self.counters.take([charge(key)])
        self.assertEqual(self.counters.take([charge("d", limit=0)]), Verdict(0, (0,), 100))

    def test_room_by_expiry(self) -> None:
        """A full store takes new counters as soon as others have expired, before the sweep comes by."""
        for key in "abc":
            self.counters.take([charge(key)])
        self.now_ms += HOUR_MS
        self.assertEqual(self.counters.take([charge("d")]), Verdict(-1, (1,)))
        self.assertEqual(len(self.counters), 1)

    def test_sweep(self) -> None:
        """Memory is given back once a counter's time is over, slot by slot."""
        self.counters.start()
        self.addCleanup(self.counters.stop)
        for slot, expires_ms in ((1, NOW_MS + 10), (2, NOW_MS + 20)):
            self.counters.settle([Correction("k", slot, 5, expires_ms)])
        self.now_ms += 10
        self.clock.advance(SWEEP_S)
        self.assertEqual(len(self.counters), 1)
        self.assertEqual(self.counters.read([charge(slot=2, first=0)]), (5,))
        self.now_ms += 10
        self.clock.advance(SWEEP_S)
        self.assertEqual(len(self.counters), 0)
        self.assertEqual(self.counters._rows, {})


class RebuildTests(SynchronousTestCase):
    """A start, before anybody knows what was spent."""

    def setUp(self) -> None:
        """A store that has yet to be rebuilt."""
        self.clock = Clock()
        self.counters = MemoryCounters(self.clock, lambda: NOW_MS, StateSettings(waiting=2), "spend:")

    def wait(self, amount: int = 1) -> Any:
        """A request with a budget, and with a rate limit."""
        return self.counters.take([charge("rate"), charge("spend:a", amount)])

    def test_waits(self) -> None:
        """A request with a budget waits for what was spent before the restart, and is held to it."""
        self.assertFalse(self.counters.available)
        first, second = self.wait(5), self.wait(3)
        self.assertNoResult(first)
        self.counters.load([correction(4, "spend:a"), correction(1, "old", expires_ms=NOW_MS)])
        self.assertNoResult(first)
        self.counters.rebuilt()
        self.assertTrue(self.counters.available)
        self.assertEqual(self.successResultOf(first), Verdict(-1, (1, 9)))
        self.assertEqual(self.successResultOf(second), Verdict(1, (1, 9), 100))
        self.assertEqual(self.wait(1), Verdict(-1, (2, 10)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_rate_limits_do_not_wait(self) -> None:
        """A request that has no budget is answered at once."""
        self.assertEqual(self.counters.take([charge("rate")]), Verdict(-1, (1,)))
        self.assertEqual(self.counters.read([charge("rate")]), (1,))

    def test_reading_waits(self) -> None:
        """Who asks what was spent waits as well."""
        read = self.counters.read([charge("spend:a")])
        self.counters.load([correction(4, "spend:a")])
        self.counters.rebuilt()
        self.assertEqual(self.successResultOf(read), (4,))

    def test_not_rebuilt_in_time(self) -> None:
        """Without a database the request is told so after five seconds."""
        wait = self.wait()
        self.clock.advance(4.9)
        self.assertNoResult(wait)
        self.clock.advance(0.1)
        self.failureResultOf(wait, StateUnavailable)
        self.assertEqual(self.counters.turned_away, 1)

    def test_leaving(self) -> None:
        """A request that leaves meanwhile takes nothing."""
        wait = self.wait()
        wait.cancel()
        self.failureResultOf(wait, CancelledError)
        self.counters.rebuilt()
        self.assertEqual(self.counters.read([charge("rate"), charge("spend:a")]), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many_wait(self) -> None:
        """No more requests wait than the settings allow."""
        waits = [self.wait(), self.wait()]
        with self.assertRaises(StateUnavailable):
            self.wait()
        self.counters.stop()
        for wait in waits:
            self.failureResultOf(wait, StateUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])


SLOTS = st.integers(0, 6)
AMOUNTS = st.integers(1, 9)


@st.composite
def charge_lists(draw: st.DrawFn) -> list[Charge]:
    """Charges of one request."""
    keys = draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True))
    made = []
    for key in keys:
        slot, amount = draw(SLOTS), draw(AMOUNTS)
        first, need = draw(st.integers(slot - 4, slot)), draw(st.integers(1, amount))
        made.append(Charge(key, slot, first, amount, need, draw(st.integers(0, 30)), NOW_MS + 1_000 * (slot + 5)))
    return made


CORRECTIONS = st.lists(
    st.builds(
        lambda key, slot, delta: Correction(key, slot, delta, NOW_MS + 1_000 * (slot + 5)),
        st.sampled_from("abc"),
        SLOTS,
        st.integers(-9, 9),
    ),
    max_size=3,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), charge_lists()),
        st.tuples(st.just("read"), charge_lists()),
        st.tuples(st.just("settle"), CORRECTIONS),
        st.tuples(st.just("pass"), st.integers(1, 3)),
    ),
    max_size=25,
)


class ModelTests(SynchronousTestCase):
    """Any course of events."""

    @settings(max_examples=300, deadline=None)
    @given(STEPS)
    def test_as_the_model(self, steps: list[tuple[str, Any]]) -> None:
        """Whatever is taken, corrected and expires, the counters hold what the plainest bookkeeping says."""
        now_ms = NOW_MS
        counters, model = MemoryCounters(Clock(), lambda: now_ms), Model()
        for step, given_ in steps:
            if step == "pass":
                now_ms += 1_000 * given_
                counters.sweep()
                over = [place for place in model.slots if NOW_MS + 1_000 * (place[1] + 5) <= now_ms]
                for place in over:
                    del model.slots[place]
            elif step == "settle":
                alive = [each for each in given_ if each.expires_ms > now_ms]
                counters.settle(given_)
                model.settle(alive)
            else:
                alive = [each for each in given_ if each.expires_ms > now_ms]
                self.assertEqual(getattr(counters, step)(alive), getattr(model, step)(alive))
