"""Budgets of gateways."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.limit import Limit, Overrun
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.values.gateway import Gateway, SpendFilter, SpendLimits
from tests.controls.visits import budget, budgeted, visit

PARTITION = SpendFilter("partition")


class BudgetTests(SynchronousTestCase):
    def limits(self, gateway: Gateway, **fields: object) -> list[Limit]:
        return list(GatewaySpendLimits().limits(visit(gateway, **fields)))  # type: ignore[arg-type]

    def test_its_words(self) -> None:
        """A refusal is worded as Cloudflare's, whose clients look for it: code 2045."""
        gateway = budgeted(budget(0.002, id="per-user", metadata={"user": PARTITION}), budget(5, technique="sliding"))
        named, numbered = self.limits(gateway, metadata={"user": "ann"}, provider="workers-ai", model="@cf/meta/llama")
        error = named.refusal(Overrun(1, 1, 1), visit(gateway, provider="workers-ai", model="@cf/meta/llama"))
        self.assertEqual(
            error.message,
            "Spend limit exceeded: rule 'per-user' (cost limit 0.002 per 3600s, fixed) for workers-ai @cf/meta/llama",
        )
        self.assertEqual((error.code, error.status, error.retryable), (2045, 429, False))
        error = numbered.refusal(Overrun(1, 1, 1), visit(gateway))
        self.assertIn("rule '2' (cost limit 5 per 3600s, sliding)", error.message)

    def test_modes(self) -> None:
        """A filter holds a budget to what it lists; a partition gives each value a budget of its own."""
        gateway = budgeted(
            budget(
                1,
                model=SpendFilter("filter", ("gpt-*",)),
                provider=SpendFilter("partition"),
                metadata={"plan": SpendFilter("filter", ("free",)), "user": PARTITION},
            )
        )
        matching: dict[str, object] = {"metadata": {"plan": "free", "user": "ann"}}
        (limit,) = self.limits(gateway, **matching)
        self.assertTrue(limit.key.startswith("spend:budget:local/default:"))
        self.assertTrue(limit.key.endswith("|ann|openai"))
        for other in (
            {"model": "claude"},
            {"metadata": {"plan": "paid", "user": "ann"}},
            {"metadata": {"plan": "free"}},
        ):
            self.assertEqual(self.limits(gateway, **matching | other), [])

    def test_switches(self) -> None:
        """Budgets are switched off one by one or all together."""
        rules = (budget(1, enabled=False), budget(2))
        self.assertEqual([limit.limit for limit in self.limits(budgeted(*rules))], [2_000_000_000])
        self.assertEqual(self.limits(Gateway(id="default", spend_limits=SpendLimits(False, rules))), [])

    def test_counters_survive_saving_again(self) -> None:
        """What was spent stays spent when rules are put into another order, renamed beside, or made higher."""
        first = budgeted(budget(1), budget(3, id="big"), budget(2, model=SpendFilter("filter", ("a", "b"))))
        again = budgeted(budget(2, model=SpendFilter("filter", ("b", "a"))), budget(7, id="big"), budget(9))
        keys = [limit.key for limit in self.limits(first, model="a")]
        self.assertEqual(len(set(keys)), 3)
        self.assertEqual({limit.key for limit in self.limits(again, model="a")}, set(keys))

    def test_another_window_counts_anew(self) -> None:
        """The slots of one window mean nothing in another."""
        rules = [budget(1, 60, id="a"), budget(1, 3600, id="a"), budget(1, 60, id="a", technique="sliding")]
        self.assertEqual(len({self.limits(budgeted(rule))[0].key for rule in rules}), 3)

    def test_gateways_do_not_share(self) -> None:
        """Gateways of the same name in two accounts have budgets of their own."""
        gateway = budgeted(budget(1))
        other = msgspec.structs.replace(gateway, account="other")
        self.assertNotEqual(self.limits(gateway)[0].key, self.limits(other)[0].key)
