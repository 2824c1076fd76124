"""Steps are held to their limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Bound, Caller
from aigw.controls.hold import NOTHING_HELD, Hold
from aigw.controls.reserve import Reserve
from aigw.controls.visit import Visit
from aigw.errors import ControlUnavailable, GatewayError, RateLimited, SpendLimitExceeded, UnpricedModel
from aigw.interfaces import ICounters
from aigw.state.memory_counters import MemoryCounters
from aigw.state.settings import StateSettings
from aigw.values.counting import Charge, Verdict
from aigw.values.gateway import Gateway, SpendFilter
from aigw.values.limits import Bounds, LimitRule
from aigw.values.step import Ask
from tests.controls.visits import NOW_S, Away, Desk, budget, budgeted, fixed_price, rated, token_price, visit

TEN = Gateway(id="default", rate_limiting_limit=10, rate_limiting_interval=60)


def outcomes(desk: Desk, steps: list[Visit]) -> list[type[Exception] | None]:
    """What becomes of steps that all come at once: what refused each, None for those that passed."""
    found: list[type[Exception] | None] = []
    for step in steps:
        try:
            desk.take(step)
            found.append(None)
        except GatewayError as error:
            found.append(type(error))
    return found


class ExactnessTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Of 200 requests at once against a limit of 10, ten pass, whichever way the window is counted."""
        for technique in ("fixed", "sliding"):
            gateway = rated(LimitRule(10, 60, technique=technique))  # type: ignore[arg-type]
            found = outcomes(Desk(), [visit(gateway)] * 200)
            self.assertEqual(found, [None] * 10 + [RateLimited] * 190)

    def test_dollars_with_a_fixed_price(self) -> None:
        """Of 200 requests at a cent each against a budget of ten cents, ten pass."""
        found = outcomes(Desk(), [visit(budgeted(budget(0.1)), price=fixed_price(0.01))] * 200)
        self.assertEqual(found, [None] * 10 + [SpendLimitExceeded] * 190)

    def test_tokens(self) -> None:
        """A limit of tokens takes what each request may come to."""
        gateway = rated(LimitRule(1000, 60, unit="tokens"))
        step = visit(gateway, body=b"x" * 396, ask=Ask("gpt-4o", output_tokens=150))
        self.assertEqual(outcomes(Desk(), [step] * 10), [None] * 4 + [RateLimited] * 6)

    def test_each_user_has_a_window(self) -> None:
        """One user's requests leave another's alone."""
        gateway = rated(LimitRule(1, 60, per=("metadata.user",)))
        steps = [visit(gateway, metadata={"user": name}) for name in ("ann", "bob", "ann")]
        self.assertEqual(outcomes(Desk(), steps), [None, None, RateLimited])

    def test_all_or_nothing(self) -> None:
        """A request that the budget refuses has used up nothing of the rate limit."""
        gateway = budgeted(budget(0.01), rate_limiting_limit=2, rate_limiting_interval=60)
        desk = Desk()
        dear, cheap = (visit(gateway, price=fixed_price(usd)) for usd in (0.02, 0.001))
        self.assertEqual(outcomes(desk, [dear] * 5 + [cheap] * 3), [SpendLimitExceeded] * 5 + [None, None, RateLimited])

    def test_a_new_window(self) -> None:
        """When the window is over, there is room again, and not before."""
        desk = Desk()
        self.assertEqual(outcomes(desk, [visit(TEN)] * 11)[-1], RateLimited)
        desk.clock.advance(59.9)
        self.assertEqual(outcomes(desk, [visit(TEN)]), [RateLimited])
        desk.clock.advance(0.1)
        self.assertEqual(outcomes(desk, [visit(TEN)] * 11), [None] * 10 + [RateLimited])

    @given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 3_000)), min_size=1, max_size=40))
    def test_a_budget_is_passed_by_one_request_at_most(self, asks: list[tuple[int, int]]) -> None:
        """However requests differ, what is in flight never comes to more than the budget and the last one's output."""
        desk, held = Desk(), 0
        gateway = budgeted(budget(0.001))
        for tokens_in, tokens_out in asks:
            body, ask = b"x" * (4 * tokens_in), Ask("gpt-4o", output_tokens=tokens_out + 1)
            step = visit(gateway, price=token_price(100, 400), body=body, ask=ask)
            before = held
            try:
                hold = desk.take(step)
            except SpendLimitExceeded:
                self.assertGreater(before + 100 * (tokens_in + 1), 1_000_000)
                continue
            (charged,) = hold.charged
            held += charged.amount
            self.assertLessEqual(before + 100 * (tokens_in + 1), 1_000_000)
            self.assertEqual(desk.used(hold), [held])


class HugeAskTests(SynchronousTestCase):
    gateway = budgeted(budget(0.01))

    def step(self, output_tokens: int) -> Visit:
        return visit(self.gateway, price=token_price(100, 400), ask=Ask("gpt-4o", output_tokens=output_tokens))

    def test_it_passes_while_there_is_room(self) -> None:
        """A request that allows 128,000 tokens of output is not refused by a budget of a cent that is hardly used."""
        desk = Desk()
        self.assertEqual(outcomes(desk, [self.step(10), self.step(128_000)]), [None, None])

    def test_others_wait_for_it(self) -> None:
        """While it runs nobody else sees the same room; when it ends, what it did not use is there again."""
        desk = Desk()
        hold = desk.take(self.step(128_000))
        self.assertEqual(outcomes(desk, [self.step(1)]), [SpendLimitExceeded])
        hold.settle(None, 20_000)
        self.assertEqual(outcomes(desk, [self.step(1)]), [None])


class RefusalTests(SynchronousTestCase):
    def refusal(self, desk: Desk, step: Visit) -> GatewayError:
        with self.assertRaises(GatewayError) as caught:
            desk.take(step)
        return caught.exception

    def test_when_to_come_back(self) -> None:
        """A refused request is told when there is room, in `Retry-After` and in `RateLimit-*`."""
        desk = Desk()
        desk.clock.advance(20)
        outcomes(desk, [visit(TEN)] * 10)
        self.assertEqual(
            self.refusal(desk, visit(TEN)).headers,
            (
                (b"retry-after", b"40"),
                (b"ratelimit-limit", b"10"),
                (b"ratelimit-remaining", b"0"),
                (b"ratelimit-reset", b"40"),
            ),
        )

    def test_a_budget_says_when_it_begins_anew(self) -> None:
        """A spent budget tells when the next begins, and nothing of its height in the headers."""
        desk = Desk()
        desk.clock.advance(600)
        step = visit(budgeted(budget(0.01)), price=fixed_price(0.01))
        desk.take(step)
        self.assertEqual(self.refusal(desk, step).headers, ((b"retry-after", b"3000"),))

    def test_no_word_of_a_caller(self) -> None:
        """An error names the rule, and never the metadata that a request was counted under."""
        gateway = rated(LimitRule(1, 60, "mine", per=("metadata.user",)))
        step = visit(gateway, metadata={"user": "ann@example.com"})
        desk = Desk()
        desk.take(step)
        self.assertNotIn("ann", self.refusal(desk, step).message)

    def test_the_first_limit_is_told(self) -> None:
        """Where several refuse, the client is told of the gateway's own first."""
        caller = Caller("tok_1", True, bounds=(Bound("token:tok_1", Bounds(limits=(LimitRule(1, 60, "own"),))),))
        gateway = rated(LimitRule(1, 60, "common"))
        desk = Desk()
        desk.take(visit(gateway, caller))
        self.assertIn("common", self.refusal(desk, visit(gateway, caller)).message)
        self.assertIn("own", self.refusal(desk, visit(Gateway(id="other"), caller)).message)

    def test_a_model_without_a_price(self) -> None:
        """A budget that is to refuse what it cannot count refuses it; where no budget holds, it passes."""
        gateway = budgeted(budget(1, provider=SpendFilter("filter", ("openai",))), unpriced_models="refuse")
        desk = Desk()
        self.assertEqual(outcomes(desk, [visit(gateway), visit(gateway, provider="groq")]), [UnpricedModel, None])

    def test_a_spent_budget_refuses_models_without_a_price_too(self) -> None:
        """Nobody gets round a spent budget with a model that is in no price list."""
        gateway = budgeted(budget(0.01))
        desk = Desk()
        desk.take(visit(gateway)).settle(None, 0)
        self.assertEqual(
            outcomes(desk, [visit(gateway, price=fixed_price(0.01)), visit(gateway)])[1], SpendLimitExceeded
        )


class NothingTests(SynchronousTestCase):
    def test_no_limit(self) -> None:
        """Where no limit holds nothing is taken, and everything can be asked of what is held."""
        desk = Desk()
        hold = desk.take(visit(Gateway(id="default")))
        self.assertIs(hold, NOTHING_HELD)
        self.assertEqual((hold.charged, hold.headers, hold.settle(None, 5)), ((), (), ()))
        hold.release()
        self.assertEqual((len(desk.memory), sum(desk.counts.values())), (0, 0))

    def test_work_is_counted(self) -> None:
        """The metrics tell how many requests each control has judged."""
        desk = Desk()
        both = budgeted(budget(1), rate_limiting_limit=10, rate_limiting_interval=60)
        outcomes(desk, [visit(TEN), visit(budgeted(budget(1))), visit(both)])
        self.assertEqual((desk.counts["rate_limit"], desk.counts["spend_limit"]), (2, 2))


class StepTests(SynchronousTestCase):
    gateway = budgeted(
        budget(0.1),
        budget(0.05, id="dear", provider=SpendFilter("filter", ("anthropic",))),
        rate_limiting_limit=2,
        rate_limiting_interval=60,
    )

    def step(self, provider: str, usd: float) -> Visit:
        return visit(self.gateway, provider=provider, price=fixed_price(usd))

    def test_one_request_is_counted_once(self) -> None:
        """A request that falls back to its second step counts once against the rate limit."""
        desk = Desk()
        hold = desk.take(self.step("openai", 0.01))
        self.assertIs(desk.take(self.step("anthropic", 0.01), hold), hold)
        self.assertEqual(desk.used(hold), [1, 10_000_000, 10_000_000])

    def test_a_dearer_step_takes_more(self) -> None:
        """A fallback to a dearer model is held to the budget with its own price."""
        desk = Desk()
        hold = desk.take(self.step("openai", 0.01))
        desk.take(self.step("anthropic", 0.04), hold)
        self.assertEqual(desk.used(hold), [1, 40_000_000, 40_000_000])
        self.assertRaises(SpendLimitExceeded, desk.take, self.step("anthropic", 0.06), hold)
        self.assertEqual(desk.used(hold), [1, 40_000_000, 40_000_000])

    def test_the_cost_goes_to_the_limits_of_the_step_that_answered(self) -> None:
        """A budget for one vendor is not charged for the answer of another."""
        desk = Desk()
        hold = desk.take(self.step("anthropic", 0.01))
        desk.take(self.step("openai", 0.01), hold)
        charged = {one.key.split(":")[3]: one.amount for one in hold.settle(None, 7_000_000)}
        self.assertEqual(list(charged.values()), [7_000_000])
        self.assertNotIn("dear", charged)

    def test_a_refused_fallback(self) -> None:
        """When the second step is refused, the first one's hold is as it was and can be settled."""
        desk = Desk()
        hold = desk.take(self.step("openai", 0.01))
        self.assertRaises(SpendLimitExceeded, desk.take, self.step("anthropic", 0.06), hold)
        self.assertEqual(hold.settle(None, None, failed=True), ())
        self.assertEqual(desk.used(hold), [1, 0])

    def test_a_step_without_limits(self) -> None:
        """What an exchange has taken stays its own when a step comes that no limit holds for."""
        desk = Desk()
        gateway = rated(LimitRule(5, 60, providers=("openai",)))
        hold = desk.take(visit(gateway))
        self.assertIs(desk.take(visit(gateway, provider="groq"), hold), hold)
        hold.settle(None, None)
        self.assertEqual(desk.used(hold), [1])


class DownTests(SynchronousTestCase):
    """The counters cannot be reached."""

    def outcome(self, gateway: Gateway, counters: ICounters) -> tuple[object, Reserve]:
        desk = Desk(counters)
        taken: list[object] = []
        try:
            found = desk.reserve.take(visit(gateway, price=fixed_price(0.01)))
        except GatewayError as error:
            return error, desk.reserve
        if isinstance(found, Deferred):
            found.addBoth(taken.append)
            (one,) = taken
            return getattr(one, "value", one), desk.reserve
        return found, desk.reserve

    def test_the_owners_choice(self) -> None:
        """Rates are left open and budgets closed unless the owner chooses otherwise; both are counted."""
        rate: dict[str, object] = {"rate_limiting_limit": 1, "rate_limiting_interval": 60}
        cases = [
            (Gateway(id="default", **rate), True),  # type: ignore[arg-type]
            (Gateway(id="default", rate_limits_when_down="closed", **rate), False),  # type: ignore[arg-type]
            (budgeted(budget(1)), False),
            (budgeted(budget(1), spend_limits_when_down="open"), True),
            (budgeted(budget(1), **rate), False),
            (budgeted(budget(1), spend_limits_when_down="open", **rate), True),
            (budgeted(budget(1), spend_limits_when_down="open", rate_limits_when_down="closed", **rate), False),
            (Gateway(id="default"), True),
        ]
        for gateway, passes in cases:
            for later in (False, True):
                with self.subTest(gateway=gateway, later=later):
                    found, reserve = self.outcome(gateway, Away(later=later))
                    if passes:
                        self.assertIs(found, NOTHING_HELD)
                        self.assertEqual(reserve.unavailable, 0)
                        self.assertEqual(reserve.uncounted > 0, gateway != Gateway(id="default"))
                    else:
                        assert isinstance(found, ControlUnavailable)
                        self.assertEqual((found.status, found.headers), (503, ((b"retry-after", b"1"),)))
                        self.assertEqual(reserve.unavailable, 1)

    def test_rates_hold_while_budgets_are_read_back(self) -> None:
        """After a start, a rate limit holds although what was spent is not yet known."""
        gateway = rated(LimitRule(2, 60), spend_limits_when_down="open", spend_limits=budgeted(budget(1)).spend_limits)
        for later in (False, True):
            memory = Desk().memory
            found = [self.outcome(gateway, Away("spend:", memory, later))[0] for _ in range(4)]
            self.assertEqual([type(one) for one in found], [Hold, Hold, RateLimited, RateLimited])

    def test_counters_that_are_rebuilt_in_time(self) -> None:
        """Requests that come right after a start wait for their budget and are then held to what was spent before."""
        desk = Desk()
        memory = MemoryCounters(desk.clock, desk.utc_ms, StateSettings(rebuild_wait_s=5), "spend:")
        waiting = Desk(memory)
        step = visit(budgeted(budget(0.01)), price=fixed_price(0.01))
        passed = waiting.reserve.take(step)
        refused = waiting.reserve.take(step)
        assert isinstance(passed, Deferred) and isinstance(refused, Deferred)
        self.assertNoResult(passed)
        memory.rebuilt()
        self.assertIsInstance(self.successResultOf(passed), Hold)
        self.failureResultOf(refused, SpendLimitExceeded)

    def test_counters_that_are_not(self) -> None:
        """Requests that have waited long enough are refused for now."""
        desk = Desk()
        memory = MemoryCounters(desk.clock, desk.utc_ms, StateSettings(rebuild_wait_s=5), "spend:")
        waiting = Desk(memory).reserve.take(visit(budgeted(budget(0.01)), price=fixed_price(0.01)))
        assert isinstance(waiting, Deferred)
        desk.clock.advance(5)
        self.failureResultOf(waiting, ControlUnavailable)


class Later(Desk):
    """Stage 7 with counters that answer when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Deferred[Verdict], list[Charge]]] = []
        self.given_back: list[list[Charge]] = []
        self.reserve = Reserve(
            type(self.till)(self, self.estimates, self.utc_ms),  # type: ignore[arg-type]
            *([source.__self__ for source in self.reserve._sources], self.counts),  # type: ignore[attr-defined]
        )

    def take(self, charges: list[Charge]) -> Deferred[Verdict]:  # type: ignore[override]
        waiting: Deferred[Verdict] = Deferred(lambda _: self.given_back.append(charges))
        self.waiting.append((waiting, charges))
        return waiting

    def answer(self) -> None:
        """Answer who waits longest."""
        waiting, charges = self.waiting.pop(0)
        waiting.callback(self.memory.take(charges))  # type: ignore[arg-type]


class ElsewhereTests(SynchronousTestCase):
    """The counters are in another process."""

    def test_the_answer_comes_later(self) -> None:
        """With shared counters a request waits for them, and is then held to them in the same way."""
        desk = Later()
        step = visit(rated(LimitRule(1, 60)))
        one, other = (desk.reserve.take(step) for _ in range(2))
        assert isinstance(one, Deferred) and isinstance(other, Deferred)
        self.assertNoResult(one)
        desk.answer()
        desk.answer()
        self.assertEqual(len(self.successResultOf(one).entries), 1)
        self.failureResultOf(other, RateLimited)

    def test_a_client_that_leaves_meanwhile(self) -> None:
        """Who leaves before the counters answer has taken nothing."""
        desk = Later()
        waiting = desk.reserve.take(visit(rated(LimitRule(1, 60))))
        assert isinstance(waiting, Deferred)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(len(desk.given_back), 1)
        self.assertEqual(desk.utc_ms(), NOW_S * 1000)
