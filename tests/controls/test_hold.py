"""What was taken becomes what was used."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.hold import Hold
from aigw.values.counting import Charged
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from aigw.values.step import Ask
from aigw.values.usage import Usage
from tests.controls.visits import NOW_S, Desk, budget, budgeted, fixed_price, token_price, visit

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
