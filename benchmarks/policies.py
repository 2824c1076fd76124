"""
What policies cost: `python -m benchmarks.policies`.

Prints microseconds of one core for a request of a caller who was here before (stage 5 and the limits of stage 7), for a
caller who was not, and for the worst conditions that are accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aigw.controls.policies import Policies
from aigw.controls.policy_book import PolicyBook
from aigw.controls.policy_condition import IDENTITY_ITEMS, Facts, compile_condition
from aigw.controls.policy_rulings import PolicyRulings
from aigw.controls.stage_counts import StageCounts
from tests.controls.policy_documents import ALICE, keep, policy, policy_documents, visit

LIMIT = {"type": "limit", "amount": 5, "period": "daily"}
MINE = policy("mine", actor="user:{cf.user.id}", action=LIMIT, condition='cf.user.email.endsWith("@example.com")')
BLOCK = policy("b", action={"type": "block"}, condition='"sales" in cf.user.groups && metadata.environment == "test"')

WORST = (
    " || ".join(['"z" in cf.user.groups'] * 80),
    f"[{','.join(['cf.user.groups'] * 130)}] == []",
    f"[{','.join(['cf'] * 150)}].exists(l, l == l && false)",
    f"[{','.join(['cf.user.groups'] * 14)}].exists(l, {'||'.join(['l == l && false'] * 15)})",
    f"cf.user.groups.exists(g, {'||'.join(['g == 0'] * 50)})",
)


def cost_us(call: Callable[[], object], count: int) -> float:
    """The best of five runs: the machine has other work."""
    best = float("inf")
    for _ in range(5):
        before = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - before) / count)
    return best * 1e6


def main() -> None:
    """Print one line a case."""
    documents = policy_documents()
    keep(documents, PolicyBook().with_committed(MINE).with_committed(BLOCK).document())
    guard, asked = Policies(documents, StageCounts()), visit(ALICE, metadata={"environment": "test"})
    stored = documents.find("local", "g")
    assert stored is not None
    print(f"{cost_us(lambda: guard.check(asked), 20_000):10.2f}  stage 5, the caller was here before")
    print(f"{cost_us(lambda: guard.limits(asked), 20_000):10.2f}  stage 7's limits, likewise")
    book = PolicyBook.of(stored.document)
    fresh = [PolicyRulings("local", "g", book) for _ in range(5_000)]
    print(f"{cost_us(lambda: fresh.pop().rule(asked), 1_000):10.2f}  two policies, the caller is new")
    groups = [f"group-{number:08}" for number in range(IDENTITY_ITEMS - 10)]
    facts = Facts({"user": {"groups": groups}}, {"n": 1}, "US")
    facts.context()
    for text in WORST:
        condition = compile_condition(text)
        print(f"{cost_us(lambda made=condition: made.holds(facts), 3):10.2f}  {text[:60]}")  # type: ignore[misc]


if __name__ == "__main__":
    main()
