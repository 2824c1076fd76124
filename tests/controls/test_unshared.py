from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.unshared import bounds_problems, gateway_problems, policies_problems
from aigw.values.gateway import Gateway, SpendLimits, SpendRule
from aigw.values.limits import Bounds, LimitRule


class UnsharedTests(SynchronousTestCase):
    def test_gateway(self) -> None:
        """Each limit of a gateway is named; one that is switched off, and a gateway without any, is no problem."""
        rule = LimitRule(limit=1, window=60)
        budget = SpendRule(1.0, "cost", 60)
        limited = Gateway(
            *("bot",), rate_limiting_limit=1, rate_limits=(rule,), spend_limits=SpendLimits(rules=(budget,))
        )
        named = [problem.partition(":")[0] for problem in gateway_problems(limited)]
        self.assertEqual(named, ["rate_limiting_limit", "rate_limits", "spend_limits"])
        off = Gateway("bot", cache_ttl=60, spend_limits=SpendLimits(enabled=False, rules=(budget,)))
        self.assertEqual(gateway_problems(off), [])

    def test_bounds(self) -> None:
        """So are limits of a token or a team, and nothing else of its bounds."""
        self.assertIn("`state.store`", bounds_problems(Bounds(limits=(LimitRule(limit=1, window=60),)))[0])
        self.assertEqual(bounds_problems(Bounds(models=("gpt-*",), providers=("openai",))), [])

    def test_policies(self) -> None:
        """So is each policy in force with an amount; a draft, or one that only blocks, is none."""
        cap = {"action": {"type": "limit", "amount": 1, "period": "daily"}}
        document = {"committed": {"a": cap, "b": {"action": {"type": "block"}}}, "drafts": {"c": cap}}
        self.assertEqual([problem.partition(":")[0] for problem in policies_problems(document)], ["policy a"])
