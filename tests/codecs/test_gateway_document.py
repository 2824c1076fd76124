"""A gateway's settings, as owners write them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.gateway_document import gateway_document, read_gateway
from aigw.values.gateway import Gateway

# Every field of section 7.2 of Cloudflare's reference, as its API answers.
CLOUDFLARE: dict[str, Any] = {
    "id": "support-bot",
    "cache_ttl": None,
    "cache_invalidate_on_update": True,
    "collect_logs": True,
    "rate_limiting_limit": 100,
    "rate_limiting_interval": 60,
    "rate_limiting_technique": "sliding",
    "authentication": True,
    "byok_only": False,
    "zdr": False,
    "workers_ai_billing_mode": "postpaid",
    "retry_max_attempts": None,
    "retry_delay": None,
    "retry_backoff": None,
    "log_management": 10_000_000,
    "log_management_strategy": "DELETE_OLDEST",
    "log_classification": False,
    "logpush": False,
    "logpush_public_key": None,
    "guardrails": {"prompt": {"P1": "BLOCK", "S1": "FLAG"}, "response": {"S13": "BLOCK"}},
    "dlp": {"enabled": True, "action": "FLAG", "profiles": ["p"]},
    "otel": [{"url": "https://otel.example/v1", "headers": {"a": "b"}, "content_type": "json"}],
    "spend_limits": {
        "enabled": True,
        "rules": [
            {
                "id": "a",
                "limit": 0.5,
                "limitType": "cost",
                "window": 3600,
                "technique": "sliding",
                "metadata": {"user": {"mode": "partition"}, "plan": {"mode": "filter", "values": ["free"]}},
                "model": {"mode": "filter", "values": ["gpt-4o"]},
            }
        ],
    },
    "stripe": {"authorization": "s", "usage_events": [{"payload": "{}"}]},
    "store_id": None,
    "created_at": "2026-01-01T00:00:00Z",
    "modified_at": "2026-01-01T00:00:00Z",
    "is_default": False,
}

DLP_POLICY = {"id": "a", "enabled": True, "action": "FLAG", "check": ["REQUEST"], "profiles": ["p"]}

# A value that is wrong, and the beginning of what its owner is told.
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"cash_ttl": 5}, "cash_ttl: no such key; did you mean `cache_ttl`?"),
    ({"cache_ttl": -1}, "cache_ttl: expected a whole number of at least 0"),
    ({"cache_ttl": "5"}, "cache_ttl: expected a whole number"),
    ({"collect_logs": None}, "collect_logs: expected true or false"),
    ({"rate_limiting_limit": 5}, "rate_limiting_interval: expected at least 1"),
    ({"rate_limiting_limit": 5, "rate_limiting_interval": None}, "rate_limiting_interval: expected at least 1"),
    (
        {"rate_limiting_technique": "fixd"},
        "rate_limiting_technique: expected one of `fixed`, `sliding`, got `fixd`; did",
    ),
    ({"retry_max_attempts": 6}, "retry_max_attempts: expected a whole number of at least 1 and at most 5, got `6`"),
    ({"retry_delay": 60_001}, "retry_delay: expected a whole number"),
    ({"log_management": 9_999}, "log_management: expected a whole number"),
    ({"log_management": 10_000_001}, "log_management: expected a whole number"),
    ({"guardrails": {"prompt": {}}}, "guardrails.response: missing"),
    ({"guardrails": {"prompt": {"S14": "FLAG"}, "response": {}}}, "guardrails.prompt.S14: expected as a name one of"),
    (
        {"guardrails": {"prompt": {"S1": "flag"}, "response": {}}},
        "guardrails.prompt.S1: expected one of `BLOCK`, `FLAG`",
    ),
    ({"dlp": {"enabled": True, "profiles": ["p"]}}, "dlp.action: missing"),
    (
        {"dlp": {"enabled": True, "policies": [{**DLP_POLICY, "action": "HIDE"}]}},
        "dlp.policies[0].action: expected one",
    ),
    ({"dlp": {"enabled": True, "policies": [DLP_POLICY] * 2}}, "dlp.policies[1].id: `a` is the id of dlp.policies[0]"),
    ({"otel": [{"url": "ftp://a", "headers": {}}]}, "otel[0].url: expected an address"),
    ({"otel": [{"url": "https://a"}]}, "otel[0].headers: missing"),
    ({"stripe": {"authorization": "s"}}, "stripe.usage_events: missing"),
    ({"spend_limits": {"rules": [{"limit": 1, "window": 60}]}}, "spend_limits.rules[0].limitType: missing"),
    ({"spend_limits": {"rules": [{"limit": 0, "limitType": "cost", "window": 60}]}}, "spend_limits.rules[0].limit: "),
    (
        {"spend_limits": {"rules": [{"limit": 1, "limitType": "count", "window": 60}]}},
        "spend_limits.rules[0].limitType",
    ),
    ({"spend_limits": {"rules": [{"limit": 1, "limitType": "cost", "window": 0}]}}, "spend_limits.rules[0].window: "),
    (
        {"spend_limits": {"rules": [{"limit": 1, "limitType": "cost", "window": 60}] * 21}},
        "spend_limits.rules: expected",
    ),
    ({"spend_webhook": "hooks.example"}, "spend_webhook: expected an address"),
    ({"spend_webhook": "https://hooks.example/a b"}, "spend_webhook: expected an address"),
    ({"spend_webhook": "file:///etc/passwd"}, "spend_webhook: expected an address"),
    ({"spend_webhook": "https://[::1"}, "spend_webhook: expected an address"),
    ({"unpriced_models": "deny"}, "unpriced_models: expected one of"),
    ({"rate_limits": [{"limit": 1.5, "window": 1}]}, "rate_limits[0].limit: expected a whole number of requests"),
    (
        {"rate_limits": [{"limit": 2e9, "window": 1, "unit": "usd"}]},
        "rate_limits[0].limit: expected at most 1000000000",
    ),
    ({"rate_limits": [{"limit": 1, "window": 1, "per": ["usr"]}]}, "rate_limits[0].per[0]: expected text matching"),
    (
        {"rate_limits": [{"limit": 1, "window": 1, "per": ["user", "user"]}]},
        "rate_limits[0].per: names something twice",
    ),
    (
        {"rate_limits": [{"limit": 1, "window": 1, "metadata": {"plan": []}}]},
        "rate_limits[0].metadata.plan: expected at",
    ),
    ({"rate_limits": [{"limit": 1, "window": 1, "id": "a"}] * 2}, "rate_limits[1].id: `a` is the id of rate_limits[0]"),
    ({"rate_limits": [{"limit": float("inf"), "window": 1}]}, "rate_limits[0].limit: expected a number"),
    (
        {"locked": ["custom-cos"]},
        "locked[0]: expected `*` or the name of a `cf-aig-*` header that sets something; did you",
    ),
    ({"locked": ["cf-aig-authorization"]}, "locked[0]: expected"),
    ({"semantic_cache": {"url": "x", "model": "m", "dimensions": 3}}, "semantic_cache.url: expected an address"),
    ({"semantic_cache": {"url": "https://a", "model": "m"}}, "semantic_cache.dimensions: missing"),
    ({"id": "a b"}, "id: expected text matching"),
    ({"id": "a" * 65}, "id: expected text matching"),
    ({"account": ""}, "account: expected text matching"),
)


def rule(**fields: Any) -> dict[str, Any]:
    """Settings with one spend rule."""
    return {"spend_limits": {"rules": [{"limit": 1, "limitType": "cost", "window": 60, **fields}]}}


SPEND_RULES = (
    ({"metadata": {"plan": {"mode": "filter"}}}, "spend_limits.rules[0].metadata.plan.values: expected at least one"),
    ({"metadata": {"plan": {"mode": "partition", "values": ["a"]}}}, "spend_limits.rules[0].metadata.plan.values: exp"),
    ({"model": {"mode": "filter"}}, "spend_limits.rules[0].model.values: expected at least one"),
    ({"provider": {"mode": "partition"}}, "spend_limits.rules[0].provider.mode: expected `filter`"),
)


class ReadGatewayTests(SynchronousTestCase):
    """What an owner may declare, and what is told of mistakes."""

    def test_cloudflares_own_object(self) -> None:
        """What Cloudflare's API answers is taken as it stands, with what only answers hold."""
        gateway = read_gateway(CLOUDFLARE)
        assert isinstance(gateway, Gateway), gateway
        self.assertEqual((gateway.id, gateway.cache_ttl, gateway.log_management), ("support-bot", None, 10_000_000))

    def test_what_is_shown_can_be_sent_back(self) -> None:
        """Settings survive a way through the API, field by field."""
        gateway = read_gateway(CLOUDFLARE)
        assert isinstance(gateway, Gateway), gateway
        self.assertEqual(read_gateway(gateway_document(gateway)), gateway)

    def test_nulls(self) -> None:
        """Fields that Cloudflare's API lets be null may be null."""
        nothing = ("cache_ttl", "rate_limiting_limit", "rate_limiting_interval", "rate_limiting_technique", "otel")
        nothing += ("retry_max_attempts", "retry_delay", "retry_backoff", "log_management", "log_management_strategy")
        nothing += ("logpush_public_key", "guardrails", "dlp", "spend_limits", "stripe", "store_id", "semantic_cache")
        self.assertIsInstance(read_gateway({"id": "a", **dict.fromkeys(nothing)}), Gateway)

    def test_wrong_settings(self) -> None:
        """A mistake is told once, by the path of its field."""
        for fields, told in (*WRONG, *((rule(**fields), told) for fields, told in SPEND_RULES)):
            problems = read_gateway({"id": "a", **fields})
            assert isinstance(problems, list), (fields, problems)
            self.assertEqual([one for one in problems if one.startswith(told)], problems, (fields, problems))
            self.assertEqual(len(problems), 1, (fields, problems))

    def test_all_mistakes_at_once(self) -> None:
        """Nobody has to send the same settings ten times to hear of ten mistakes."""
        problems = read_gateway({"cache_ttl": -1, "retry_delay": "1", "nonsense": 1})
        assert isinstance(problems, list), problems
        self.assertEqual(
            sorted(one.partition(":")[0] for one in problems), ["cache_ttl", "id", "nonsense", "retry_delay"]
        )

    def test_an_address_is_not_repeated(self) -> None:
        """A wrong address may hold a password, which no error may show."""
        self.assertNotIn("hunter2", str(read_gateway({"id": "a", "spend_webhook": "ftp://me:hunter2@hooks.example"})))

    def test_headers_by_any_name(self) -> None:
        """Headers are locked with the prefix or without, by today's spelling or that of old."""
        for name in ("*", "custom-cost", "CF-AIG-Custom-Cost", "cf-skip-cache", "cf-aig-metadata"):
            self.assertIsInstance(read_gateway({"id": "a", "locked": [name]}), Gateway, name)
