"""What policies would say of a request that nobody made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aigw.controls.policy_book import ready
from aigw.controls.policy_condition import Facts
from aigw.controls.policy_evaluation import Bucket, Evaluation, evaluate, judge
from aigw.values.policy import Policy


class SimulatedIdentity(msgspec.Struct, frozen=True):
    """
    Who calls.

    Attributes:
        cf: `user` with `id`, `email` and `groups`, `custom` and `country`.
        metadata: As in `cf-aig-metadata`.
    """

    cf: dict[str, Any] = {}
    metadata: dict[str, str | int | float | bool] = {}


class Usage(msgspec.Struct, frozen=True):
    """
    Attributes:
        spent: US dollars, in each of the bucket's intervals.
    """

    spent: Annotated[float, Meta(ge=0)]


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """
    What is asked.

    Attributes:
        model, provider: Of the request.
        identity: See there; `metadata` may stand beside `cf` or at the top.
        metadata: As within `identity`.
        bucket_usage: What is spent already, by the name of a policy.
    """

    model: str
    provider: str
    identity: SimulatedIdentity = SimulatedIdentity()
    metadata: dict[str, str | int | float | bool] = {}
    bucket_usage: dict[str, Usage] = {}


def simulate(policies: Sequence[Policy], asked: Simulation) -> dict[str, Any]:
    """
    Evaluate policies and hold their limits against what is said to be spent.

    Args:
        policies: In force, sorted by id.
        asked: See there.
    Returns:
        The `result` of Cloudflare's answer: `evaluation`, `enforcement` and `policiesEvaluated`.
    Raises:
        PolicyRefused: One of them cannot be used.
    """
    cf = asked.identity.cf
    identity = {key: cf[key] for key in ("user", "custom") if isinstance(cf.get(key), Mapping)}
    facts = Facts(identity, {**asked.identity.metadata, **asked.metadata}, str(cf.get("country", "")))
    compiled = [ready(policy) for policy in policies]
    evaluation = evaluate(judge(compiled, facts), asked.provider, asked.model)
    return {
        "evaluation": {
            "decision": _decision(evaluation, bool(policies)),
            "buckets": [_bucket(bucket, asked.bucket_usage) for bucket in evaluation.buckets],
        },
        "enforcement": _enforcement(evaluation, bool(policies), asked.bucket_usage),
        "policiesEvaluated": len(policies),
    }


def _decision(evaluation: Evaluation, any_policy: bool) -> str:
    if evaluation.blocked_by is not None or (any_policy and not evaluation.buckets):
        return "block"
    checked = any(bucket.caps and not bucket.unlimited for bucket in evaluation.buckets)
    return "check_limits" if checked else "no-limit"


def _bucket(bucket: Bucket, usage: Mapping[str, Usage]) -> dict[str, Any]:
    caps = () if bucket.unlimited else bucket.caps
    limits = [{"amount": cap.amount, "period": cap.period, "technique": cap.technique} for cap, _ in caps]
    return {"bucket": bucket.id, "policies": bucket.names, "limits": limits, "spent": _spent(bucket, usage)}


def _spent(bucket: Bucket, usage: Mapping[str, Usage]) -> float:
    return max((usage[name].spent for name in bucket.names if name in usage), default=0.0)


def _enforcement(evaluation: Evaluation, any_policy: bool, usage: Mapping[str, Usage]) -> dict[str, Any]:
    if evaluation.blocked_by is not None:
        return {"allowed": False, "reason": "blocked", "policyName": evaluation.blocked_by.name}
    if any_policy and not evaluation.buckets:
        return {"allowed": False, "reason": "blocked"}
    for bucket in evaluation.buckets:
        spent = _spent(bucket, usage)
        for cap, policy in () if bucket.unlimited else bucket.caps:
            if spent >= cap.amount:
                told = {"bucket": bucket.id, "spent": spent, "limit": cap.amount}
                return {"allowed": False, "reason": "limit_exceeded", **told, "policyName": policy.name}
    return {"allowed": True}
