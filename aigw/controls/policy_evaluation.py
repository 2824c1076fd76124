"""What an owner's policies, all together, say of a request. The order in which they were made plays no part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from aigw.controls.patterns import matcher
from aigw.controls.policy_actor import Actor, compile_actor
from aigw.controls.policy_condition import Condition, Facts, compile_condition
from aigw.values.policy import Block, Cap, NoLimit, Period, Policy, PolicyForm, Resource


@attrs.frozen
class CompiledPolicy:
    """
    A policy that is ready to be evaluated.

    Attributes:
        policy: As its owner wrote it.
        models, providers: Whether the resource takes a name in lower case; None: it takes every one.
        condition, actor: See there.
    """

    policy: Policy
    models: Callable[[str], bool] | None
    providers: Callable[[str], bool] | None
    condition: Condition
    actor: Actor

    def covers(self, provider: str, model: str) -> bool:
        """Whether the resource is what is asked for; vendors who take `GPT-4o` for `gpt-4o` open no way around."""
        provider, model = provider.lower(), model.lower()
        return (self.providers is None or self.providers(provider)) and (self.models is None or self.models(model))


def compile_policy(policy: Policy) -> CompiledPolicy:
    """
    Make a policy ready.

    Raises:
        ConditionError, ActorError: It cannot be used.
    """
    resource = policy.resource
    models = providers = None
    if isinstance(resource, Resource):
        models = None if resource.model is None else matcher(names(resource.model))
        providers = None if resource.provider is None else frozenset(names(resource.provider)).__contains__
    condition = compile_condition(policy.condition)
    return CompiledPolicy(policy, models, providers, condition, compile_actor(policy.actor))


@attrs.frozen
class Judged:
    """
    A policy held against the facts of a caller, whatever the caller asks for.

    Attributes:
        compiled: The policy.
        holds: Its condition; None when a field is missing.
        actor: The bucket's name; None when a field is missing.
    """

    compiled: CompiledPolicy
    holds: bool | None
    actor: str | None


@attrs.frozen
class Bucket:
    """
    What is charged together.

    Attributes:
        actor: Resolved.
        resource: As `resource_text` has it.
        names: Of the policies that matched, sorted.
        unlimited: Whether one of them switches the check off.
        caps: For each period the cap that counts, and its policy.
    """

    actor: str
    resource: str
    names: tuple[str, ...]
    unlimited: bool
    caps: tuple[tuple[Cap, Policy], ...]

    @property
    def id(self) -> str:
        """The name that callers are told."""
        return self.actor if self.resource == "*" else f"{self.actor} {self.resource}"


@attrs.frozen
class Evaluation:
    """
    What came of it.

    Attributes:
        blocked_by: The policy that blocks, or None.
        buckets: Those that the request belongs to. Without any, and not blocked: no policy allows it.
    """

    blocked_by: Policy | None
    buckets: tuple[Bucket, ...]


def judge(policies: Iterable[CompiledPolicy], facts: Facts) -> tuple[Judged, ...]:
    """Hold policies against what is known of a caller."""
    return tuple(Judged(one, one.condition.holds(facts), one.actor.resolve(facts)) for one in policies)


def evaluate(judged: Sequence[Judged], provider: str, model: str | None) -> Evaluation:
    """
    Decide about a request for a model.

    Args:
        judged: All policies of the gateway, in an order that does not depend on when they were made.
        provider: Slug.
        model: As the provider names it, empty when none is asked for; None when it cannot be told: then it may be any,
            for policies that block or limit one, and none, for those that allow one.
    """
    matching: dict[tuple[str, str], list[Policy]] = {}
    for one in judged:
        policy = one.compiled.policy
        covered = _covers(one.compiled, provider, model)
        if isinstance(policy.action, Block):
            # A block that nobody can judge blocks: leaving a field out must not open what is closed.
            if covered != policy.action.otherwise and one.holds is not False:
                return Evaluation(policy, ())
        elif covered and one.holds and one.actor is not None:
            matching.setdefault((one.actor, resource_text(policy)), []).append(policy)
    return Evaluation(None, tuple(_bucket(*key, matching[key]) for key in sorted(matching)))


def _covers(compiled: CompiledPolicy, provider: str, model: str | None) -> bool:
    if model is not None or compiled.models is None:
        return compiled.covers(provider, model or "")
    if compiled.providers is not None and not compiled.providers(provider.lower()):
        return False
    action = compiled.policy.action
    return not (isinstance(action, NoLimit) or (isinstance(action, Block) and action.otherwise))


def resource_text(policy: PolicyForm) -> str:
    """A resource as text: the same for the same models and providers, however they are written."""
    resource = policy.resource
    if not isinstance(resource, Resource):
        return "*"
    kinds = (("model", resource.model), ("provider", resource.provider))
    return " ".join(f"{kind}={','.join(sorted(set(names(value))))}" for kind, value in kinds if value is not None)


def names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """One name or many, as many; in lower case."""
    return tuple(name.lower() for name in ((value,) if isinstance(value, str) else value))


def _bucket(actor: str, resource: str, policies: Sequence[Policy]) -> Bucket:
    highest: dict[Period, tuple[Cap, Policy]] = {}
    for policy in policies:
        cap = policy.action
        if isinstance(cap, Cap) and (cap.period not in highest or cap.amount > highest[cap.period][0].amount):
            highest[cap.period] = (cap, policy)
    unlimited = any(isinstance(policy.action, NoLimit) for policy in policies)
    caps = tuple(highest[period] for period in sorted(highest))
    return Bucket(actor, resource, tuple(sorted(policy.name for policy in policies)), unlimited, caps)
