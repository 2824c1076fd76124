"""What would be counted by each of several workers for itself, were there no store that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds

WHY = 'each worker would count for itself; set `state.store` to "postgresql" or "redis", or `workers` to 1'


def gateway_problems(gateway: Gateway) -> list[str]:
    """One sentence for each limit of a gateway, beginning with its field."""
    budgets = gateway.spend_limits
    counted = {
        "rate_limiting_limit": gateway.rate_limiting_limit,
        "rate_limits": gateway.rate_limits,
        "spend_limits": budgets is not None and budgets.enabled and any(rule.enabled for rule in budgets.rules),
    }
    return [f"{field}: {WHY}" for field, counts in counted.items() if counts]


def bounds_problems(bounds: Bounds) -> list[str]:
    """The same, for the bounds of a token or a team."""
    return [f"limits: {WHY}"] if bounds.limits else []


def policies_problems(document: Mapping[str, Any]) -> list[str]:
    """The same, for a gateway's policies as they are stored; those that are drafts count nothing yet."""
    committed = document.get("committed", {})
    return [
        f"policy {policy_id}: {WHY}"
        for policy_id, policy in sorted(committed.items())
        if isinstance(policy, Mapping) and _type_of(policy.get("action")) == "limit"
    ]


def _type_of(action: object) -> object:
    return action.get("type") if isinstance(action, Mapping) else None
