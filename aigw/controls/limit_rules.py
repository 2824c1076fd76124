"""Rules as gateways, tokens and teams word them, compiled."""

from __future__ import annotations

from functools import partial

from aigw.controls.limit import RATE, SPEND, Limit, Overrun
from aigw.controls.partition import filters, part
from aigw.controls.rule_terms import make_window, nanousd, plain, rule_key, spend_refusal
from aigw.controls.rules import Rule
from aigw.controls.visit import Visit
from aigw.errors import GatewayError, RateLimited
from aigw.values.limits import LimitRule


def compile_rule(rule: LimitRule, owner: str) -> Rule:
    """
    Make a rule ready.

    Args:
        rule: See there.
        owner: Whose counters they are, such as `gateway:local/default` or `token:tok_1`. Rules of one owner that have
            no id and differ in nothing but their limit share a counter.
    """
    money = rule.unit == "usd"
    amount = nanousd(rule.limit) if money else max(1, int(rule.limit))
    limit = Limit(
        key=(SPEND if money else RATE) + rule_key(owner, rule.id, rule.window, rule.technique, _content(rule)),
        unit=rule.unit,
        limit=amount,
        window=make_window(rule.window, rule.technique),
        name=rule.id or f"{plain(rule.limit)} {rule.unit} per {rule.window}s",
        refusal=partial(spend_refusal, rule.id or "limit", plain(rule.limit), rule.window, rule.technique)
        if money
        else partial(_rate_refusal, rule),
        alert=money,
    )
    found = filters(rule.models, rule.providers, rule.metadata)
    return Rule(limit, found, [part(name) for name in sorted(set(rule.per))])


def _content(rule: LimitRule) -> list[object]:
    metadata = sorted((key, sorted(values)) for key, values in rule.metadata.items())
    return [rule.unit, sorted(set(rule.per)), sorted(rule.models), sorted(rule.providers), metadata]


def _rate_refusal(rule: LimitRule, overrun: Overrun, visit: Visit) -> GatewayError:
    words = f"{plain(rule.limit)} {rule.unit} per {rule.window}s, {rule.technique}"
    return RateLimited(f"limit '{rule.id}' ({words})" if rule.id else words)
