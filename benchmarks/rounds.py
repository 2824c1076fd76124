"""Measures targets in turns, so that whatever else the machine does weighs on all of them alike."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.load import Plan
from benchmarks.parent import Child, child
from benchmarks.processes import Usage, usage
from benchmarks.target import Target

# Node compiles what is hot for some seconds: its first requests cost four times as much.
WARM_S = 6.0
_US = 1e6
_MB = 2**20

# Given the number of requests of a run; returns when all that they cause is done.
Settle = Callable[[int], Awaitable[None]]


async def no_settling(_: int) -> None:
    """A gateway without logs has done everything by its last answer."""


@dataclass(frozen=True)
class Reading:
    """
    One run of one target.

    Attributes:
        requests, failed: Answered, and how many of those without success.
        cpu_us: CPU of the gateway's processes for a request, with what came after the answers.
        postgres_us: The same of its PostgreSQL.
        per_s: Requests a second.
        p50_ms, p99_ms: Of whole answers.
        rss_mb: Of the gateway's processes, after the run.
        driver_us: CPU of the load driver for a request.
        trouble: The first answer that was no success.
    """

    requests: int
    failed: int
    cpu_us: float
    postgres_us: float
    per_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    driver_us: float
    trouble: str


class Driver:
    """
    A load driver in its own process.

    Args:
        process: Runs `benchmarks.load`.
    """

    def __init__(self, process: Child) -> None:
        self._process = process

    @classmethod
    async def start(cls, stack: AsyncExitStack, plan: Plan) -> Driver:
        """Start one that ends with the stack, and have it connect."""
        process = await stack.enter_async_context(child("benchmarks.load"))
        process.tell(json.dumps(asdict(plan)).encode())
        await process.line()
        return cls(process)

    async def run(self, **how: float) -> dict[str, Any]:
        """One run, `requests=` or `seconds=`; see `benchmarks.load.Result`."""
        self._process.tell(json.dumps(how).encode())
        result: dict[str, Any] = json.loads(await self._process.line())
        return result


@dataclass(frozen=True)
class Entry:
    """
    A target among others.

    Attributes:
        target: See there.
        settle: Waits for what a run has left to do.
    """

    target: Target
    settle: Settle = no_settling


async def measure(
    entries: Sequence[Entry], stream: bool, in_flight: int, rounds: int, seconds: float, warm_s: float = WARM_S
) -> dict[str, list[Reading]]:
    """
    Run every target once in each round.

    Args:
        entries: What to measure.
        stream, in_flight: See `Plan`.
        rounds: How often.
        seconds: Of one run.
        warm_s: Of a first run that counts for nothing.
    Returns:
        The readings of each target by its name, in the order of the rounds.
    """
    found: dict[str, list[Reading]] = {entry.target.name: [] for entry in entries}
    async with AsyncExitStack() as stack:
        drivers = [await Driver.start(stack, entry.target.plan_for(stream, in_flight)) for entry in entries]
        for entry, driver in zip(entries, drivers, strict=True):
            warm = await driver.run(seconds=warm_s)
            await entry.settle(warm["requests"])
        for number in range(rounds):
            # Each second round backwards: whoever comes first would otherwise always find the machine colder.
            turn = list(zip(entries, drivers, strict=True))
            for entry, driver in turn if number % 2 == 0 else reversed(turn):
                found[entry.target.name].append(await _read(entry, driver, seconds))
    return found


async def _read(entry: Entry, driver: Driver, seconds: float) -> Reading:
    before = usage(entry.target.pid)
    told = await driver.run(seconds=seconds)
    await entry.settle(told["requests"])
    return reading(told, before, usage(entry.target.pid))


def reading(told: dict[str, Any], before: Usage, after: Usage) -> Reading:
    """What a run has told, for each of its requests."""
    count = max(told["requests"], 1)
    return Reading(
        requests=told["requests"],
        failed=told["failed"],
        cpu_us=(after.cpu_s - before.cpu_s) / count * _US,
        postgres_us=(after.postgres_s - before.postgres_s) / count * _US,
        per_s=told["requests"] / told["took_s"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        rss_mb=after.rss_bytes / _MB,
        driver_us=told["driver_cpu_s"] / count * _US,
        trouble=told["trouble"],
    )


def medians(readings: Sequence[Reading]) -> dict[str, float]:
    """The median of each number; of requests and failures the sum."""
    summed = ("requests", "failed")
    numbers = [name for name in Reading.__dataclass_fields__ if name not in (*summed, "trouble")]
    found: dict[str, float] = {name: round(median(getattr(each, name) for each in readings), 3) for name in numbers}
    return found | {name: sum(getattr(each, name) for each in readings) for name in summed}


def ratio(ours: Sequence[Reading], theirs: Sequence[Reading], name: str = "cpu_us") -> float:
    """The median over the rounds of one number of ours to theirs."""
    pairs = [(getattr(mine, name), getattr(other, name)) for mine, other in zip(ours, theirs, strict=True)]
    return round(median(mine / other for mine, other in pairs if other), 4) if any(b for _, b in pairs) else 0.0
