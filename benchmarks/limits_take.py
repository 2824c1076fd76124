"""
What one rate limit and one budget cost a request, with counters in memory: `python benchmarks/limits_take.py`.

Microseconds of CPU for stage 7 (take) and for its settling, the best of several rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from twisted.internet.task import Clock

from aigw.controls.authentication import ANONYMOUS
from aigw.controls.estimate import Estimates, EstimateSettings
from aigw.controls.hold import NOTHING_HELD, Till
from aigw.controls.holder_limits import HolderLimits
from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.reserve import Reserve
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.state.memory_counters import MemoryCounters
from aigw.values.gateway import Gateway, SpendLimits, SpendRule
from aigw.values.record import Target
from aigw.values.step import Ask, Clocks, UpstreamRequest
from aigw.values.usage import Usage

NUMBER = 20_000
ROUNDS = 7


def main() -> None:
    """Measure and print."""
    started_ms = 1_800_000_000_000
    counters = MemoryCounters(Clock(), lambda: started_ms)
    till = Till(counters, Estimates(EstimateSettings()), lambda: started_ms)
    reserve = Reserve(till, (GatewayRateLimits(), GatewaySpendLimits(), HolderLimits()), StageCounts())
    budget = SpendLimits(rules=(SpendRule(limit=1e6, limit_type="cost", window=3600),))
    both = Gateway(id="both", rate_limiting_limit=10**9, rate_limiting_interval=60, spend_limits=budget)
    slides = Gateway(
        id="slides", rate_limiting_limit=10**9, rate_limiting_interval=60, rate_limiting_technique="sliding"
    )
    usage = Usage(120, 80)

    def exchange(visit: Visit) -> None:
        hold = reserve.take(visit)
        hold.charged, hold.headers  # type: ignore[union-attr]  # noqa: B018  # as an exchange asks for them
        hold.settle(usage, 12_000)  # type: ignore[union-attr]  # memory answers at once

    for name, gateway in (("none", Gateway(id="none")), ("both", both), ("sliding", slides)):
        visit = visit_of(gateway, started_ms)
        print(f"{name:8} take {best_us(partial(reserve.take, visit)):.2f} us", end="  ")
        print(f"with settling and headers {best_us(partial(exchange, visit)):.2f} us")
    assert reserve.take(visit_of(Gateway(id="none"), started_ms)) is NOTHING_HELD


def visit_of(gateway: Gateway, now_ms: int) -> Visit:
    """A request of an ordinary size."""
    request = UpstreamRequest(b"POST", b"https://api.example/v1/chat", (), b"{" + b"x" * 600 + b"}", Clocks())
    target = Target("openai", "chat/completions", "gpt-4o", model_type="chat")

    def price(usage: Usage, response_model: str = "") -> int | None:
        return usage.tokens_in * 2_500 + usage.tokens_out * 10_000

    return Visit(gateway, ANONYMOUS, target, request, {}, {}, b"", Ask("gpt-4o"), now_ms, price)


def best_us(call: Callable[[], object]) -> float:
    """The fewest microseconds that a call took on average in one of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(NUMBER):
            call()
        best = min(best, time.process_time() - began)
    return best / NUMBER * 1e6


if __name__ == "__main__":
    main()
