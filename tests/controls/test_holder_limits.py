"""Limits of tokens and teams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Bound, Caller
from aigw.controls.holder_limits import HolderLimits
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds, LimitRule
from tests.controls.visits import visit


class HolderTests(SynchronousTestCase):
    def test_counters_belong_to_the_holder(self) -> None:
        """A token's limit is shared by all gateways that it calls, and a team's by all its tokens."""
        source = HolderLimits()
        token = Bound("token:tok_1", Bounds(limits=(LimitRule(5, 60),)))
        team = Bound("team:blue", Bounds(limits=(LimitRule(9, 60), LimitRule(1, 60, unit="usd"))))
        caller = Caller("tok_1", True, "blue", bounds=(token, team))
        limits = source.limits(visit(Gateway(id="one"), caller))
        self.assertEqual([limit.limit for limit in limits], [5, 9, 1_000_000_000])
        self.assertEqual(limits, source.limits(visit(Gateway(id="two", account="other"), caller)))
        colleague = Caller("tok_2", True, "blue", bounds=(team,))
        self.assertEqual(source.limits(visit(Gateway(id="one"), colleague)), limits[1:])

    def test_no_bounds_no_limits(self) -> None:
        """A caller whose token is bound to models only is counted nowhere."""
        caller = Caller("tok_1", True, bounds=(Bound("token:tok_1", Bounds(models=("gpt-*",))),))
        self.assertEqual(list(HolderLimits().limits(visit(Gateway(id="one"), caller))), [])
