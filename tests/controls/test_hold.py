"""What was taken becomes what was used."""

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
from aigw.values.counting import Charge, Charged, Correction, Verdict
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from aigw.values.step import Ask
from aigw.values.usage import Usage
from tests.controls.visits import NOW_S, Desk, budget, budgeted, fixed_price, rated, token_price, visit

CENT = 10_000_000
ALL = budgeted(
    budget(1, id="hour"),
    rate_limits=(LimitRule(5, 60), LimitRule(10_000, 60, unit="tokens"), LimitRule(2, 60, unit="usd")),
)


def taken(desk: Desk, gateway: Gateway = ALL) -> Hold:
    """A request that may come to a cent, and to 1,001 tokens."""
    return desk.take(visit(gateway, price=fixed_price(0.01), ask=Ask("gpt-4o", output_tokens=1000)))


class SettleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = Desk()
        self.hold = taken(self.desk)

    def used(self) -> list[int]:
        """Requests, tokens, and nano-dollars of the two limits in dollars."""
        return self.desk.used(self.hold)

    def test_taken(self) -> None:
        """What a request may come to is held for it while it runs, and its BEGIN says so for every budget."""
        self.assertEqual(self.used(), [1, 1001, CENT, CENT])
        self.assertEqual([charged.amount for charged in self.hold.charged], [CENT, CENT])
        self.assertTrue(all(charged.key.startswith("spend:") for charged in self.hold.charged))

    def test_known(self) -> None:
        """What the answer really used takes the estimate's place, whether it is less or more."""
        charged = self.hold.settle(Usage(10, 20), 7)
        self.assertEqual(self.used(), [1, 30, 7, 7])
        self.assertEqual([one.amount for one in charged], [7, 7])
        more = taken(self.desk)
        more.settle(Usage(100, 2_000), 2 * CENT)
        self.assertEqual(self.used(), [2, 2_130, 2 * CENT + 7, 2 * CENT + 7])

    def test_once(self) -> None:
        """However often an exchange is closed, it is charged once."""
        first = self.hold.settle(Usage(10, 20), 7)
        self.assertEqual(self.hold.settle(Usage(10, 20), 9), first)
        self.hold.release()
        self.assertIsNone(self.hold.add(Usage(10, 20), 9))
        self.assertEqual(self.used(), [1, 30, 7, 7])

    def test_released(self) -> None:
        """A request for which nobody was asked counts nowhere, not even as a request."""
        self.hold.release()
        self.hold.release()
        self.assertEqual(self.hold.settle(Usage(10, 20), 7), ())
        self.assertEqual(self.used(), [0, 0, 0, 0])

    def test_failed(self) -> None:
        """A provider's failure costs no tokens and no dollars; the request was made all the same."""
        self.assertEqual(self.hold.settle(None, None, failed=True), ())
        self.assertEqual(self.used(), [1, 0, 0, 0])

    def test_failed_in_the_middle(self) -> None:
        """What a provider told before it failed counts."""
        self.hold.settle(Usage(10, 5, estimated=True), 3, failed=True)
        self.assertEqual(self.used(), [1, 15, 3, 3])

    def test_unknown(self) -> None:
        """When nobody can tell what a request used, the estimate stays: leaving early is no way round a budget."""
        charged = self.hold.settle(None, None)
        self.assertEqual(self.used(), [1, 1001, CENT, CENT])
        self.assertEqual([one.amount for one in charged], [CENT, CENT])

    def test_the_price_is_asked_where_none_was_given(self) -> None:
        """Usage without a cost is priced as the step would be."""
        self.hold.settle(Usage(10, 20), None)
        self.assertEqual(self.used(), [1, 30, CENT, CENT])

    def test_after_its_window(self) -> None:
        """An answer that takes longer than the window is charged where it was taken, not to the next window."""
        slots = [entry.span.slot for entry in self.hold.entries]
        self.desk.clock.advance(3600)
        charged = self.hold.settle(Usage(10, 20), 7)
        self.assertEqual(self.used(), [0, 0, 0, 0])
        self.assertEqual([one.slot for one in charged], slots[2:])

    def test_headers(self) -> None:
        """Every answer tells the rate limit that is nearest to its end, and no budget."""
        self.assertEqual(
            self.hold.headers,
            ((b"ratelimit-limit", b"5"), (b"ratelimit-remaining", b"4"), (b"ratelimit-reset", b"60")),
        )
        dear = self.desk.take(visit(ALL, price=fixed_price(0), ask=Ask("gpt-4o", output_tokens=20_000)))
        self.assertEqual(dear.headers[:2], ((b"ratelimit-limit", b"10000"), (b"ratelimit-remaining", b"0")))
        self.assertEqual(self.desk.take(visit(budgeted(budget(1)))).headers, ())

    def test_the_next_estimate_learns(self) -> None:
        """What a model really answers makes the next reservation fit."""
        self.hold.settle(Usage(10, 20), 7)
        self.assertEqual(self.desk.estimates.usage(visit(ALL)).tokens_out, 21)


class UnpricedTests(SynchronousTestCase):
    def charged(self, choice: str) -> list[int]:
        desk = Desk()
        hold = desk.take(visit(budgeted(budget(1), unpriced_models=choice)))
        return [one.amount for one in hold.settle(Usage(1_000, 1_000), None)]

    def test_by_the_owners_choice(self) -> None:
        """A model without a price is charged as the owner assumes, or not at all."""
        self.assertEqual(self.charged("allow"), [])
        self.assertEqual(self.charged("estimate"), [5_000_000 + 15_000_000])

    def test_a_price_that_has_gone(self) -> None:
        """Where unpriced models are refused and a price is gone when the answer comes, the estimate stays."""
        known = True
        listed = token_price(10, 10)

        def price(usage: Usage, response_model: str = "") -> int | None:
            return listed(usage) if known else None

        desk = Desk()
        gateway = budgeted(budget(1), unpriced_models="refuse")
        hold = desk.take(visit(gateway, price=price, ask=Ask("gpt-4o", output_tokens=99)))
        known = False
        self.assertEqual([one.amount for one in hold.settle(Usage(1, 1), None)], [1_000])


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


class LedgerTests(SynchronousTestCase):
    def test_begin_and_end_name_the_same_counters(self) -> None:
        """What a killed process held can be put where a finished exchange would have been charged."""
        desk = Desk()
        hold = taken(desk)
        begin, end = hold.charged, hold.settle(Usage(1, 1), 5)
        self.assertEqual(
            [(one.key, one.slot, one.expires_ms) for one in begin], [(one.key, one.slot, one.expires_ms) for one in end]
        )
        hour_ms = 3_600_000
        self.assertIn(Charged(end[1].key, NOW_S // 3600, NOW_S * 1000 + hour_ms, 5), end)
