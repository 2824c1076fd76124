"""Rate limits of gateways."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Caller
from aigw.controls.limit import RATE, SPEND, Limit, Overrun
from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.windows import fixed, sliding
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from tests.controls.visits import rated, visit


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
                "Rate limited: 1000000 tokens per 3600s, fixed",
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
