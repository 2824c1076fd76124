"""Any number of exchanges under one budget, against a plain model of it."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.hold import Hold
from aigw.errors import SpendLimitExceeded
from aigw.values.counting import Charged
from aigw.values.step import Ask
from aigw.values.usage import Usage
from tests.controls.visits import Desk, budget, budgeted, token_price, visit

WINDOW_S = 600
LIMIT = 1_000_000
GATEWAY = budgeted(budget(0.001, WINDOW_S))
IN, OUT = 100, 300


class Exchange:
    """
    What the model knows of one exchange.

    Attributes:
        hold: What is tested.
        slot: Where it was taken.
        amount: What it counts there.
    """

    def __init__(self, hold: Hold, slot: int, amount: int) -> None:
        self.hold = hold
        self.slot = slot
        self.amount = amount


class Budget(RuleBasedStateMachine):
    """Exchanges open, run, end in every way, and time passes; what the counter holds is known at every moment."""

    running: Any = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.exchanges: list[Exchange] = []

    @property
    def slot(self) -> int:
        """The window that it is now."""
        return int(self.desk.clock.seconds()) // WINDOW_S

    def spent(self) -> int:
        """What the present window holds, by the model."""
        return sum(each.amount for each in self.exchanges if each.slot == self.slot)

    @rule(target=running, tokens_in=st.integers(1, 3_000), tokens_out=st.integers(1, 3_000))
    def opens(self, tokens_in: int, tokens_out: int) -> Any:
        """A request passes when its input fits, and takes all that it asks for."""
        step = visit(
            GATEWAY,
            price=token_price(IN, OUT),
            body=b"x" * (4 * (tokens_in - 1)),
            ask=Ask("gpt-4o", output_tokens=tokens_out),
        )
        fits = self.spent() + tokens_in * IN <= LIMIT
        try:
            hold = self.desk.take(step)
        except SpendLimitExceeded:
            assert not fits
            return multiple()
        assert fits
        exchange = Exchange(hold, self.slot, tokens_in * IN + tokens_out * OUT)
        self.exchanges.append(exchange)
        return exchange

    @rule(seconds=st.integers(1, WINDOW_S))
    def time_passes(self, seconds: int) -> None:
        """Also across the end of a window."""
        self.desk.clock.advance(seconds)

    @rule(exchange=consumes(running), cost=st.integers(0, 2_000_000))
    def is_answered(self, exchange: Exchange, cost: int) -> None:
        """The cost is known."""
        exchange.amount = cost
        self.ends(exchange, exchange.hold.settle(Usage(1, 1), cost))

    @rule(exchange=consumes(running), tokens_out=st.integers(0, 3_000))
    def is_left_in_the_middle(self, exchange: Exchange, tokens_out: int) -> None:
        """The client goes; what was used is guessed."""
        exchange.amount = 10 * IN + tokens_out * OUT
        self.ends(exchange, exchange.hold.settle(Usage(10, tokens_out, estimated=True), None))

    @rule(exchange=consumes(running))
    def is_left_before_the_answer(self, exchange: Exchange) -> None:
        """The client goes, and nobody knows what the provider did."""
        self.ends(exchange, exchange.hold.settle(None, None))

    @rule(exchange=consumes(running))
    def fails(self, exchange: Exchange) -> None:
        """The provider fails."""
        exchange.amount = 0
        self.ends(exchange, exchange.hold.settle(None, None, failed=True))

    @rule(exchange=consumes(running))
    def is_never_sent(self, exchange: Exchange) -> None:
        """Another control refuses it."""
        exchange.amount = 0
        exchange.hold.release()
        self.ends(exchange, ())

    def ends(self, exchange: Exchange, charged: tuple[Charged, ...]) -> None:
        """What the record says is what the counter holds, in the window where it was taken; a second ending is none."""
        expected = [(exchange.slot, exchange.amount)] if exchange.amount else []
        assert [(one.slot, one.amount) for one in charged] == expected
        exchange.hold.settle(Usage(999, 999), 999_999)
        exchange.hold.release()

    @invariant()
    def holds_what_it_should(self) -> None:
        """The counter is the sum of what is in flight and what was spent, to the nano-dollar."""
        if self.exchanges:
            assert self.desk.used(self.exchanges[-1].hold) == [self.spent()]


class MachineTests(SynchronousTestCase):
    def test_budget(self) -> None:
        """Whatever happens to the requests of a budget, it is charged what they cost, once."""
        run_state_machine_as_test(Budget, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
