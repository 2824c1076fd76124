"""Rules, compiled."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.rules import PARTITIONS_KEPT, Rule, Rules
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from tests.controls.visits import budget, budgeted, rated, visit


class RuleTests(SynchronousTestCase):
    def test_partitions_are_bounded(self) -> None:
        """A million users fill no memory with limits."""
        (limit,) = GatewayRateLimits().limits(visit(rated(LimitRule(1, 60))))
        rule = Rule(limit, (), (lambda step: step.target.model,))
        for number in range(PARTITIONS_KEPT + 10):
            rule.limit(visit(Gateway(id="default"), model=f"model-{number}"))
        self.assertEqual(len(rule._limits), PARTITIONS_KEPT)


class RulesTests(SynchronousTestCase):
    def test_of_two_alike_the_lower_holds(self) -> None:
        """Two rules for the same are one counter, and the lower limit is the one that matters."""
        self.assertEqual(
            [limit.limit for limit in GatewaySpendLimits().limits(visit(budgeted(budget(3), budget(2))))],
            [2_000_000_000],
        )

    def test_none(self) -> None:
        """A gateway without rules has nothing to ask."""
        rules = Rules(())
        self.assertEqual((bool(rules), list(rules.limits(visit(Gateway(id="default"))))), (False, []))
