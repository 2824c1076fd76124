"""The gateway's rate limits: the one of section 5.2 of Cloudflare's reference, and those beyond it."""

from __future__ import annotations

from collections.abc import Sequence

from aigw.controls.limit import RATE, Limit, Overrun
from aigw.controls.limit_rules import compile_rule
from aigw.controls.rule_terms import make_window
from aigw.controls.rules import Rule, Rules
from aigw.controls.snapshots import Compiled
from aigw.controls.visit import Visit
from aigw.errors import GatewayError, RateLimited
from aigw.values.gateway import Gateway


class GatewayRateLimits:
    """The rate limits of each gateway, compiled once for each snapshot of its settings; a `LimitSource`."""

    def __init__(self) -> None:
        self._rules: Compiled[Gateway, Rules] = Compiled(gateway_rules)

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """See `LimitSource`."""
        gateway = visit.gateway
        if not gateway.rate_limiting_limit and not gateway.rate_limits:
            return ()
        return self._rules.of(gateway).limits(visit)


def gateway_rules(gateway: Gateway) -> Rules:
    """A gateway's own limit first, then its rules in their order."""
    owner = f"gateway:{gateway.account}/{gateway.id}"
    rules = [compile_rule(rule, owner) for rule in gateway.rate_limits]
    requests, window_s = gateway.rate_limiting_limit, gateway.rate_limiting_interval
    if requests and window_s:
        technique = gateway.rate_limiting_technique or "fixed"
        key = f"{RATE}{owner}::{window_s}{technique[0]}"
        limit = Limit(key, "requests", requests, make_window(window_s, technique), "gateway", _refusal)
        rules.insert(0, Rule(limit))
    return Rules(rules)


def _refusal(overrun: Overrun, visit: Visit) -> GatewayError:
    # In Cloudflare's own words, which say nothing more.
    return RateLimited()
