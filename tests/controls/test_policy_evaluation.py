"""The rules by which policies decide, one by one and against a plain model of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.policy_condition import Facts
from aigw.controls.policy_evaluation import Evaluation, compile_policy, evaluate, judge
from aigw.values.policy import Policy
from tests.controls.policy_documents import ALICE, policy

BLOCK = {"type": "block"}
ONLY = {"type": "block", "except": True}
FREE = {"type": "no-limit"}


def cap(amount: float, period: str = "daily") -> dict[str, Any]:
    """A limit."""
    return {"type": "limit", "amount": amount, "period": period, "technique": "named-interval"}


def evaluated(
    policies: Sequence[Policy], facts: Facts, provider: str = "openai", model: str | None = "gpt-4o"
) -> Evaluation:
    """What policies say, as the gateway asks them: sorted by id."""
    compiled = [compile_policy(one) for one in sorted(policies, key=lambda one: one.id)]
    return evaluate(judge(compiled, facts), provider, model)


def summary(evaluation: Evaluation) -> str | dict[str, Any]:
    """Who blocks; or of each bucket the caps, `free` where they are switched off."""
    if evaluation.blocked_by is not None:
        return evaluation.blocked_by.name
    return {
        bucket.id: "free" if bucket.unlimited else {one.period: one.amount for one, _ in bucket.caps}
        for bucket in evaluation.buckets
    }


class RulesTests(SynchronousTestCase):
    facts = Facts(ALICE, {"environment": "production"}, "US")

    def check(self, expected: str | dict[str, Any], *policies: Policy, **asked: str | None) -> None:
        """In any order of creation."""
        for order in (policies, policies[::-1]):
            self.assertEqual(summary(evaluated(order, self.facts, **asked)), expected)

    def test_a_model_that_cannot_be_told(self) -> None:
        """It may be any: what blocks or limits some models holds for it, what allows only some does not."""
        mini = {"model": "gpt-*-mini"}
        self.check("no minis", policy("no minis", action=BLOCK, resource=mini), model=None)
        self.check("only", policy("only", action=ONLY, resource=mini), model=None)
        self.check({}, policy("elsewhere", action=BLOCK, resource=mini | {"provider": "x"}), model=None)
        self.check({}, policy("free", action=FREE, resource=mini), model=None)
        capped = evaluated([policy("capped", action=cap(5), resource=mini)], self.facts, model=None)
        self.assertEqual([[one.amount for one, _ in bucket.caps] for bucket in capped.buckets], [[5.0]])

    def test_resource_and_condition_match(self) -> None:
        """A policy says something only where both what is asked for and the caller are meant."""
        for resource, condition, matches in (
            ("*", "true", True),
            ("*", "false", False),
            ({"model": "gpt-4o"}, "true", True),
            ({"model": "GPT-4o"}, "true", True),
            ({"model": "GPT-*", "provider": "OpenAI"}, "true", True),
            ({"model": "gpt-4"}, "true", False),
            ({"model": ["o3", "gpt-*"]}, "true", True),
            ({"model": "gpt-*"}, "false", False),
            ({"provider": "openai"}, "true", True),
            ({"provider": ["azure", "anthropic"]}, "true", False),
            ({"model": "gpt-*", "provider": "openai"}, "true", True),
            ({"model": "gpt-*", "provider": "azure"}, "true", False),
            ({"model": "o3", "provider": "openai"}, "true", False),
        ):
            found = evaluated([policy("p", resource=resource, condition=condition)], self.facts)
            self.assertEqual(bool(found.buckets), matches, (resource, condition))

    def test_stars_end_at_slashes(self) -> None:
        """`*` stands for a part of a model's name, never for a whole path, and for nothing else in it."""
        for pattern, model, matches in (
            ("@cf/meta/*", "@cf/meta/llama-3", True),
            ("@cf/*", "@cf/meta/llama-3", False),
            ("*", "gpt-4o", True),
            ("*", "@cf/meta/llama-3", False),
            ("*/*/*", "@cf/meta/llama-3", True),
            ("gpt-*-mini", "gpt-4o-mini", True),
            ("gpt-?o", "gpt-4o", False),
            ("gpt.4o", "gpt-4o", False),
        ):
            found = evaluated([policy("p", resource={"model": pattern})], self.facts, model=model)
            self.assertEqual(bool(found.buckets), matches, (pattern, model))

    def test_case(self) -> None:
        """Nobody gets round a block by writing the model in other letters."""
        self.check("b", policy("b", action=BLOCK, resource={"model": "gpt-4o"}), policy("a"), model="GPT-4O")

    def test_a_block_wins(self) -> None:
        """One matching block is enough, whatever else is allowed."""
        self.check("b", policy("a", action=FREE), policy("b", action=BLOCK), policy("c", action=cap(1)))
        self.check({"company:all": "free"}, policy("a", action=FREE), policy("b", action=BLOCK, condition="false"))

    def test_everything_but(self) -> None:
        """A block with `except` refuses all other models, and does not allow those that it names."""
        only = policy("only", action=ONLY, resource={"model": "gpt-*"})
        self.check("only", only, policy("a"), model="o3")
        self.check({}, only)
        self.check({"company:all": "free"}, only, policy("a"))

    def test_buckets(self) -> None:
        """Charged together is what has the same resolved actor and the same resource."""
        mine = policy("mine", actor="user:{cf.user.id}", action=cap(1))
        same = policy("same", actor="user:alice", action=cap(2, "monthly"))
        ours = policy("ours", actor="team:all", action=cap(3))
        gpt = policy("gpt", actor="user:alice", action=cap(4), resource={"model": ["gpt-*", "o3"]})
        again = policy("again", actor="user:alice", action=cap(5, "weekly"), resource={"model": ["o3", "gpt-*"]})
        expected = {
            "team:all": {"daily": 3},
            "user:alice": {"daily": 1, "monthly": 2},
            "user:alice model=gpt-*,o3": {"daily": 4, "weekly": 5},
        }
        self.check(expected, mine, same, ours, gpt, again)

    def test_no_limit_switches_its_bucket_off(self) -> None:
        """`no-limit` frees its own bucket and no other one."""
        free, capped = policy("f", action=FREE), policy("c", action=cap(1))
        self.check({"company:all": "free"}, free, capped)
        other = policy("o", actor="user:{cf.user.id}", action=cap(2))
        self.check({"company:all": "free", "user:alice": {"daily": 2}}, free, capped, other)

    def test_highest_cap_of_a_period(self) -> None:
        """Of several caps of a bucket for the same period, the highest counts; other periods stand beside it."""
        self.check(
            {"company:all": {"daily": 7, "hourly": 1}},
            policy("a", action=cap(5)),
            policy("b", action=cap(7)),
            policy("c", action=cap(1, "hourly")),
        )

    def test_missing_fields(self) -> None:
        """Where a field is missing, a block of what is asked for blocks, and nothing else applies."""
        unknown = 'cf.user.department == "x"'
        self.check("b", policy("a"), policy("b", action=BLOCK, condition=unknown))
        self.check("b", policy("a"), policy("b", action=BLOCK, actor="{cf.user.department}"))
        elsewhere = policy("b", action=BLOCK, condition=unknown, resource={"model": "o3"})
        self.check({"company:all": "free"}, policy("a"), elsewhere)
        not_here = policy("b", action=BLOCK, condition="false", actor="{cf.user.department}")
        self.check({"company:all": "free"}, policy("a"), not_here)
        self.check({}, policy("a", condition=unknown), policy("b", actor="{cf.user.department}", action=cap(1)))

    def test_everything_but_with_missing_fields(self) -> None:
        """The same holds for what a block with `except` refuses."""
        only = policy("only", action=ONLY, resource={"model": "gpt-*"}, condition='cf.user.department == "x"')
        self.check("only", only, policy("a"), model="o3")
        self.check({"company:all": "free"}, only, policy("a"))


# What stands in a policy, and what that means in these tests, told without CEL, braces and stars.
RESOURCES: dict[str, tuple[Any, Callable[[str, str], bool]]] = {
    "*": ("*", lambda provider, model: True),
    "model=gpt-*": ({"model": "gpt-*"}, lambda provider, model: model == "gpt-4o"),
    "model=gpt-4o,o3": ({"model": ["o3", "gpt-4o"]}, lambda provider, model: model in ("gpt-4o", "o3")),
    "provider=openai": ({"provider": "openai"}, lambda provider, model: provider == "openai"),
}
CONDITIONS = {"true": True, "false": False, "metadata.missing == 1": None, 'metadata.who == "me"': True}
ACTORS = {"all": "all", "me": "me", "{metadata.who}": "me", "{metadata.missing}": None}
ACTIONS = (FREE, BLOCK, ONLY, cap(1), cap(2), cap(3, "hourly"))

Drawn = tuple[str, str, str, dict[str, Any]]
some_drawn = some.tuples(*(some.sampled_from(list(choices)) for choices in (RESOURCES, CONDITIONS, ACTORS, ACTIONS)))


def rules(drawn: Sequence[Drawn], provider: str, model: str) -> dict[str, Any] | None:
    """The six rules as the reference tells them: the caps of each bucket; None when somebody blocks."""
    buckets: dict[str, list[dict[str, Any]]] = {}
    for resource, condition, actor, action in drawn:
        meant, holds, whom = RESOURCES[resource][1](provider, model), CONDITIONS[condition], ACTORS[actor]
        if action["type"] == "block":
            if meant != action.get("except", False) and holds in (True, None):
                return None
        elif meant and holds and whom:
            buckets.setdefault(whom if resource == "*" else f"{whom} {resource}", []).append(action)
    return {name: counting(actions) for name, actions in buckets.items()}


def counting(actions: Sequence[dict[str, Any]]) -> str | dict[str, float]:
    """What counts in a bucket."""
    if FREE in actions:
        return "free"
    return {one["period"]: max(cap["amount"] for cap in actions if cap["period"] == one["period"]) for one in actions}


class ModelTests(SynchronousTestCase):
    @given(
        some.lists(some_drawn, max_size=6),
        some.sampled_from(("openai", "azure")),
        some.sampled_from(("gpt-4o", "o3", "@cf/x/y")),
        some.permutations(range(6)),
    )
    def test_same_as_the_rules_told_plainly(
        self, drawn: Sequence[Drawn], provider: str, model: str, order: Sequence[int]
    ) -> None:
        """Whatever policies an owner makes, and in whatever order, they do what the rules say."""
        policies = [
            policy(f"p{place}", resource=RESOURCES[resource][0], condition=condition, actor=actor, action=action)
            for place, (resource, condition, actor, action) in zip(order, drawn, strict=False)
        ]
        found = evaluated(policies, Facts({}, {"who": "me"}, ""), provider, model)
        self.assertEqual(None if found.blocked_by else summary(found), rules(drawn, provider, model))
