"""Realtime sessions: one hold, many turns."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.controls.hold import Hold
from aigw.errors import ControlUnavailable, SpendLimitExceeded, StateUnavailable
from aigw.interfaces import ICounters
from aigw.values.counting import Charge, Correction, Verdict
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from aigw.values.step import Ask
from aigw.values.usage import Usage
from tests.controls.visits import NOW_S, Desk, budget, budgeted, fixed_price, rated, token_price, visit

CENT = 10_000_000


class SessionTests(SynchronousTestCase):
    """A realtime session: one hold, many turns."""

    gateway = budgeted(budget(0.01))

    def setUp(self) -> None:
        self.desk = Desk()

    def session(self, gateway: Gateway, output_tokens: int = 1000) -> Hold:
        price = token_price(1_000, 1_000)
        return self.desk.take(visit(gateway, price=price, ask=Ask("gpt-4o", output_tokens=output_tokens)))

    def test_turns_use_up_what_is_held(self) -> None:
        """The first turns are paid from what was taken for the session, later ones beyond it."""
        hold = self.session(budgeted(budget(1)))
        held = hold.charged[0].amount
        for turn in range(1, 4):
            self.assertIsNone(hold.add(Usage(500, 500), 700_000))
            self.assertEqual(self.desk.used(hold), [max(held, turn * 700_000)])
        self.assertEqual([one.amount for one in hold.settle(Usage(1_500, 1_500), 2_100_000)], [2_100_000])
        self.assertEqual(self.desk.used(hold), [2_100_000])

    def test_a_spent_budget_ends_it(self) -> None:
        """A session that has spent its budget is told so after the turn that did it."""
        hold = self.session(self.gateway)
        self.assertIsNone(hold.add(Usage(1, 1), 9_999_999))
        self.assertIsInstance(hold.add(Usage(1, 1), 1), SpendLimitExceeded)
        self.assertEqual([one.amount for one in hold.settle(Usage(2, 2), CENT)], [CENT])

    def test_what_is_held_for_it_is_not_spent(self) -> None:
        """A session that holds more than its budget goes on until it has really spent that."""
        hold = self.session(self.gateway, output_tokens=1_000_000)
        self.assertIsNone(hold.add(Usage(1, 1), 5))

    def test_others_spend_too(self) -> None:
        """Two sessions under one budget end when both together have spent it."""
        one, other = self.session(self.gateway), self.session(self.gateway)
        self.assertIsNone(one.add(Usage(1, 1), 6_000_000))
        self.assertIsInstance(other.add(Usage(1, 1), 6_000_000), SpendLimitExceeded)

    def test_a_turn_counts_in_its_own_window(self) -> None:
        """A session that lasts for hours is charged to each hour what it spent in it."""
        hold = self.session(self.gateway)
        hold.add(Usage(1, 1), 400)
        self.desk.clock.advance(3600)
        self.assertIsNone(hold.add(Usage(1, 1), 9_000_000))
        self.assertEqual(self.desk.used(hold), [9_000_000])
        self.desk.clock.advance(-3600)
        self.assertEqual(self.desk.used(hold), [400])
        hour = NOW_S // 3600
        self.desk.clock.advance(3600)
        charged = hold.settle(Usage(3, 3), 9_000_500)
        self.assertEqual([(one.slot, one.amount) for one in charged], [(hour, 400), (hour + 1, 9_000_100)])

    def test_windows_long_past_are_forgotten(self) -> None:
        """A session of a day under a limit by the minute leaves a short record."""
        hold = self.session(budgeted(budget(1, 60, technique="sliding")))
        for _ in range(500):
            self.desk.clock.advance(7)
            hold.add(Usage(1, 1), 5)
        self.assertLess(len(hold.settle(None, None)), 20)

    def test_requests_are_not_added(self) -> None:
        """A session is one request, however many turns it has."""
        hold = self.session(rated(LimitRule(2, 60)))
        for _ in range(5):
            self.assertIsNone(hold.add(Usage(1, 1), 1))
        self.assertEqual(self.desk.used(hold), [1])

    @given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 3_000_000)), max_size=20), st.integers(0, 1_000_000))
    def test_every_nanodollar_once(self, turns: list[tuple[int, int]], last: int) -> None:
        """Whatever the turns and the windows that they fall into, the session is charged its sum."""
        desk = Desk()
        long = (LimitRule(10**12, 31_000_000, unit="tokens"),)
        hold = desk.take(visit(budgeted(budget(1_000, 31_000_000), rate_limits=long), price=token_price(1_000, 1_000)))
        total = 0
        for pause_s, cost in turns:
            desk.clock.advance(pause_s)
            total += cost
            hold.add(Usage(cost, 0), cost)
        charged = hold.settle(Usage(total, last), total + last)
        self.assertEqual(sum(one.amount for one in charged), total + last)
        self.assertEqual(desk.used(hold), [total + last, total + last])


@implementer(ICounters)
class Scripted:
    """Counters whose sums come as the test says."""

    available = True

    def __init__(self, sums: object) -> None:
        self.sums = sums
        self.settled: list[Correction] = []

    def take(self, charges: Sequence[Charge]) -> Verdict:
        """Lets everything pass."""
        return Verdict(-1, tuple(charge.amount for charge in charges))

    def settle(self, corrections: Sequence[Correction]) -> None:
        """Notes them."""
        self.settled += corrections

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...] | Deferred[tuple[int, ...]]:
        """Gives the sums, or raises them."""
        if isinstance(self.sums, Exception):
            raise self.sums
        return self.sums  # type: ignore[return-value]


class SessionElsewhereTests(SynchronousTestCase):
    """A realtime session whose counters are in another process."""

    def added(self, sums: object, **fields: object) -> object:
        self.counters = Scripted(sums)
        hold = Desk(self.counters).take(visit(budgeted(budget(0.01), **fields), price=fixed_price(0)))
        return hold.add(Usage(1, 1), 5)

    def test_the_judgement_comes_later(self) -> None:
        """A turn is charged at once; whether the budget is spent is told when the counters answer."""
        for used, expected in ((5, type(None)), (CENT, SpendLimitExceeded)):
            judged = self.added(succeed((used,)))
            assert isinstance(judged, Deferred)
            self.assertIsInstance(self.successResultOf(judged), expected)
            self.assertEqual([correction.delta for correction in self.counters.settled], [4])

    def test_counters_that_are_away(self) -> None:
        """When the counters are away, the session goes on or ends as the owner chose."""
        away = StateUnavailable("away")
        self.assertIsInstance(self.added(away), ControlUnavailable)
        self.assertIsNone(self.added(away, spend_limits_when_down="open"))
        failing: Deferred[object] = Deferred()
        failing.errback(away)
        judged = self.added(failing)
        assert isinstance(judged, Deferred)
        self.assertIsInstance(self.successResultOf(judged), ControlUnavailable)
