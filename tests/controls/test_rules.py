"""Rules of gateways, budgets, tokens and teams, compiled."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Bound, Caller
from aigw.controls.holder_limits import HolderLimits
from aigw.controls.limit import RATE, SPEND, Limit, Overrun
from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.rules import PARTITIONS_KEPT, Rule, plain
from aigw.controls.snapshots import Compiled
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.controls.windows import fixed, sliding
from aigw.values.gateway import Gateway, SpendFilter, SpendLimits
from aigw.values.limits import Bounds, LimitRule
from tests.controls.visits import budget, budgeted, rated, visit

PARTITION = SpendFilter("partition")


class RateLimitTests(SynchronousTestCase):
    def limits(self, gateway: Gateway) -> list[Limit]:
        return list(GatewayRateLimits().limits(visit(gateway)))

    def test_the_gateways_own(self) -> None:
        """Cloudflare's three fields make one limit of requests; 0 or null in either of two means none."""
        gateway = Gateway(id="default", rate_limiting_limit=10, rate_limiting_interval=60)
        (limit,) = self.limits(gateway)
        self.assertEqual((limit.unit, limit.limit, limit.window, limit.name), ("requests", 10, fixed(60), "gateway"))
        slides = msgspec.structs.replace(gateway, rate_limiting_technique="sliding")
        self.assertEqual(self.limits(slides)[0].window, sliding(60))
        for field in ("rate_limiting_limit", "rate_limiting_interval"):
            for value in (0, None):
                self.assertEqual(self.limits(msgspec.structs.replace(gateway, **{field: value})), [])

    def test_its_words(self) -> None:
        """The classic limit refuses in Cloudflare's words, code 2003; a rule names itself and its height."""
        gateway = Gateway(
            id="default",
            rate_limiting_limit=10,
            rate_limiting_interval=60,
            rate_limits=(LimitRule(2.0, 60, "burst"), LimitRule(1e6, 3600, unit="tokens")),
        )
        errors = [limit.refusal(Overrun(10, 10, 5), visit(gateway)) for limit in self.limits(gateway)]
        self.assertEqual({(error.code, error.status) for error in errors}, {(2003, 429)})
        self.assertEqual(
            [error.message for error in errors],
            [
                "Rate limited",
                "Rate limited: limit 'burst' (2 requests per 60s, fixed)",
                "Rate limited: (1000000 tokens per 3600s, fixed)",
            ],
        )

    def test_units(self) -> None:
        """Dollars are kept as nano-dollars, and where budgets are; less than one of anything is one."""
        for unit, limit, kept in (("usd", 0.5, 500_000_000), ("tokens", 100, 100), ("requests", 0.5, 1)):
            with self.subTest(unit=unit):
                (found,) = self.limits(rated(LimitRule(limit, 60, unit=unit)))  # type: ignore[arg-type]
                self.assertEqual((found.limit, found.alert), (kept, unit == "usd"))
                self.assertTrue(found.key.startswith(SPEND if unit == "usd" else RATE))

    def test_a_request_without_the_value_is_not_counted(self) -> None:
        """A limit by user says nothing of requests that name none."""
        gateway = rated(LimitRule(1, 60, per=("metadata.user", "model")))
        source = GatewayRateLimits()
        self.assertEqual(source.limits(visit(gateway)), [])
        self.assertEqual(source.limits(visit(gateway, metadata={"user": "ann"}, model="")), [])
        (limit,) = source.limits(visit(gateway, metadata={"user": "ann"}))
        (other,) = source.limits(visit(gateway, metadata={"user": "bob"}))
        self.assertNotEqual(limit.key, other.key)
        self.assertTrue(limit.key.endswith("|ann|gpt-4o"))

    def test_counters_survive_rewriting(self) -> None:
        """The same rule in other words, or with another height, goes on where it was; another rule does not."""
        rule = LimitRule(1, 60, per=("token", "user"), models=("a", "b"), metadata={"x": ("1", "2"), "y": ("3",)})
        caller = Caller("tok_1", True, "", "ann")
        step = visit(rated(rule), caller, model="a", metadata={"x": "1", "y": "3"})

        def key(**fields: object) -> str:
            gateway = rated(msgspec.structs.replace(rule, **fields))
            (limit,) = GatewayRateLimits().limits(msgspec.structs.replace(step, gateway=gateway))
            return limit.key

        same: list[dict[str, object]] = [
            {"limit": 5.0},
            {"per": ("user", "token", "user")},
            {"models": ("b", "a")},
            {"metadata": {"y": ("3",), "x": ("2", "1")}},
        ]
        for fields in same:
            self.assertEqual(key(**fields), key())
        others: list[dict[str, object]] = [
            {"unit": "tokens"},
            {"models": ("a",)},
            {"providers": ("*",)},
            {"metadata": {"x": ("1",)}},
            {"id": "named"},
        ]
        self.assertEqual(len({key(), *(key(**fields) for fields in others)}), 6)

    def test_values_cannot_be_confused(self) -> None:
        """A value that holds the separator does not reach another caller's counter."""
        gateway = rated(LimitRule(1, 60, per=("metadata.a", "metadata.b")))
        source = GatewayRateLimits()
        (one,) = source.limits(visit(gateway, metadata={"a": "x|y", "b": "z"}))
        (other,) = source.limits(visit(gateway, metadata={"a": "x", "b": "y|z"}))
        self.assertNotEqual(one.key, other.key)

    def test_partitions_are_bounded(self) -> None:
        """A million users fill no memory with limits."""
        (limit,) = self.limits(rated(LimitRule(1, 60)))
        rule = Rule(limit, (), (lambda step: step.target.model,))
        for number in range(PARTITIONS_KEPT + 10):
            rule.limit(visit(Gateway(id="default"), model=f"model-{number}"))
        self.assertEqual(len(rule._limits), PARTITIONS_KEPT)


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

    def test_of_two_alike_the_lower_holds(self) -> None:
        """Two rules for the same are one counter, and the lower limit is the one that matters."""
        self.assertEqual([limit.limit for limit in self.limits(budgeted(budget(3), budget(2)))], [2_000_000_000])


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


class CompiledTests(SynchronousTestCase):
    def test_once_for_each_snapshot(self) -> None:
        """Settings are compiled when they change, not with every request."""
        made: list[Gateway] = []
        compiled: Compiled[Gateway, int] = Compiled(lambda gateway: made.append(gateway) or len(made))
        one, equal = Gateway(id="a"), Gateway(id="a")
        self.assertEqual([compiled.of(each) for each in (one, one, equal, one)], [1, 1, 2, 1])

    def test_bounded(self) -> None:
        """Settings that are long replaced do not stay for ever."""
        compiled: Compiled[Gateway, Gateway] = Compiled(lambda gateway: gateway, kept=3)
        for number in range(10):
            gateway = Gateway(id=str(number))
            self.assertIs(compiled.of(gateway), gateway)
        self.assertEqual(len(compiled), 3)


class NumberTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Amounts read as the owner wrote them."""
        self.assertEqual(
            [plain(number) for number in (0.002, 5.0, 1e6, 100, 1e-9)], ["0.002", "5", "1000000", "100", "0.000000001"]
        )
