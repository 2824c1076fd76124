"""
What the controls add: `python -m benchmarks.controls [--rounds 9] [--seconds 2]`.

One process has two gateways in one settings file, `plain` and `controlled`, and is asked for both in turns, over a warm
WebSocket each. What a let-through request costs more on the second is what its controls add; neither the machine's
mood nor another process's layout in memory comes between. Then the same question again and again: a cache hit.

PostgreSQL is frozen meanwhile: rows wait in the spool, so that the shipping of logs is in none of the numbers, while
all that a request itself writes is. Counters and cache are those in memory. In the end PostgreSQL goes on, and its rows
are counted. Nothing is asserted; the bars are printed beside the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from benchmarks import ours
from benchmarks.checks import stages_of
from benchmarks.gateway import gateway
from benchmarks.parent import child
from benchmarks.rounds import Entry, measure, medians
from benchmarks.table import grid

ADDED_BAR_US = 15.0
HIT_BAR_US = 40.0
IN_FLIGHT = 32
WARM_S = 3.0
# The gateway waits for the frozen database, instead of trying again.
PATIENT = "\n[pool]\nanswer_s = 3600.0\n"

PLAIN, CONTROLLED, HIT = "plain", "all controls, a miss", "all controls, a hit"


async def run(rounds: int, seconds: float) -> str:
    """Measure; the lines for people."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        stub = await stack.enter_async_context(child("benchmarks.stub"))
        running = await stack.enter_async_context(gateway(folder, int(await stub.line()), more=PATIENT))
        targets = [
            ours.over_socket(running, ours.PLAIN, PLAIN),
            ours.over_socket(running, ours.CONTROLLED, CONTROLLED),
            ours.over_socket(running, ours.CONTROLLED, HIT, number="00000000"),
        ]
        # Budgets are read from the database when they are first asked for, and refuse until then.
        await measure([Entry(target) for target in targets], False, IN_FLIGHT, rounds=1, seconds=1.0, warm_s=1.0)
        with running.database_frozen():
            found = await measure([Entry(target) for target in targets], False, IN_FLIGHT, rounds, seconds, WARM_S)
        numbers = await running.metrics()
        await running.shipped(int(numbers["aigw_log_ended"]))
        rows = await running.rows()
    added = median(more.cpu_us - less.cpu_us for more, less in zip(found[CONTROLLED], found[PLAIN], strict=True))
    table = []
    for name, readings in found.items():
        each = medians(readings)
        row = [name, f"{each['cpu_us']:.1f}", f"{each['per_s']:.0f}", f"{each['p50_ms']:.2f}"]
        table.append([*row, f"{each['failed']:.0f} of {each['requests']:.0f}"])
    counted = stages_of(numbers)
    lines = [
        grid(("gateway", "CPU us", "req/s", "p50 ms", "failed"), table),
        "",
        f"controls add {added:.1f} us to a request that they let through (bar: under {ADDED_BAR_US:.0f} us)",
        f"a cache hit costs {medians(found[HIT])['cpu_us']:.1f} us (bar: under {HIT_BAR_US:.0f} us)",
        "shipping of logs is in no number: PostgreSQL was frozen, and rows waited in the spool; afterwards it took "
        f"{rows} rows of {numbers['aigw_log_ended']:.0f} records",
        *(f"NOT ON: {why}" for why in running.missing),
        "",
        "work that the stages have counted, warming up and all gateways included:",
        *(f"  {stage}: {count:.0f}" for stage, count in counted.items()),
    ]
    if not counted:
        lines.append("  none: /metrics has no aigw_stage_total, so nothing shows that the controls were on")
    return "\n".join(lines)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.controls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(asyncio.run(run(options.rounds, options.seconds)))


if __name__ == "__main__":
    main()
