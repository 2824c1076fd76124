"""The gateway's budgets (section 5.11 of Cloudflare's reference)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from aigw.controls.limit import SPEND, Limit
from aigw.controls.partition import filters, part
from aigw.controls.rule_terms import make_window, nanousd, plain, rule_key, spend_refusal
from aigw.controls.rules import Rule, Rules
from aigw.controls.snapshots import Compiled
from aigw.controls.visit import Visit
from aigw.values.gateway import Gateway, SpendFilter, SpendRule


class GatewaySpendLimits:
    """The budgets of each gateway, compiled once for each snapshot of its settings; a `LimitSource`."""

    def __init__(self) -> None:
        self._rules: Compiled[Gateway, Rules] = Compiled(budget_rules)

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """See `LimitSource`."""
        if visit.gateway.spend_limits is None:
            return ()
        return self._rules.of(visit.gateway).limits(visit)


def budget_rules(gateway: Gateway) -> Rules:
    """A gateway's budgets, in their order; those that are switched off are left out."""
    spend = gateway.spend_limits
    if spend is None or not spend.enabled:
        return Rules(())
    owner = f"budget:{gateway.account}/{gateway.id}"
    return Rules(_compile(rule, number, owner) for number, rule in enumerate(spend.rules, 1) if rule.enabled)


def _compile(rule: SpendRule, number: int, owner: str) -> Rule:
    name = rule.id or str(number)
    limit = Limit(
        key=SPEND + rule_key(owner, rule.id, rule.window, rule.technique, _content(rule)),
        unit="usd",
        limit=nanousd(rule.limit),
        window=make_window(rule.window, rule.technique),
        name=name,
        refusal=partial(spend_refusal, name, plain(rule.limit), rule.window, rule.technique),
        alert=True,
    )
    metadata = {key: one.values for key, one in rule.metadata.items() if one.mode == "filter"}
    return Rule(
        limit, filters(_values(rule.model), _values(rule.provider), metadata), [part(name) for name in _per(rule)]
    )


def _values(one: SpendFilter | None) -> tuple[str, ...]:
    return one.values if one is not None and one.mode == "filter" else ()


def _per(rule: SpendRule) -> list[str]:
    """What the budget is kept apart by, in an order that no rewriting of the rule changes."""
    fields = {"model": rule.model, "provider": rule.provider}
    fields |= {f"metadata.{key}": one for key, one in rule.metadata.items()}
    return sorted(name for name, one in fields.items() if one is not None and one.mode == "partition")


def _content(rule: SpendRule) -> list[object]:
    metadata = sorted((key, sorted(one.values)) for key, one in rule.metadata.items() if one.mode == "filter")
    return [_per(rule), sorted(_values(rule.model)), sorted(_values(rule.provider)), metadata]
