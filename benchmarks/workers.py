"""What a request costs when several processes share the port, against one process, in turns."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import ours
from benchmarks.gateway import gateway
from benchmarks.parent import child
from benchmarks.rounds import Entry, measure, medians, ratio
from benchmarks.scenarios import Shipping
from benchmarks.table import grid
from benchmarks.target import Target

# The kernel deals out connections, not requests: with few of them one process may get them all.
SOCKETS = 32
ONE = "1 process"
# Of both: what is compared is the number of processes. Several need a store that they share.
STORE = "postgresql"


async def run(workers: int, rounds: int, seconds: float) -> str:
    """Measure both; lines for people, or why there are none."""
    many = f"{workers} processes"
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(child("benchmarks.stub"))
        stub_port = int(await stub.line())
        entries = []
        for name, options in ((ONE, ()), (many, ("--workers", str(workers)))):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
            try:
                running = await stack.enter_async_context(gateway(folder, stub_port, options=options, store=STORE))
            except RuntimeError as error:
                return f"{name}: not measured, for the gateway does not start with {options}: {error}"
            entries.append(Entry(_over_many_sockets(ours.over_socket(running, label=name)), Shipping(running).settle))
        found = await measure(entries, False, SOCKETS, rounds, seconds)
    rows = []
    for name, readings in found.items():
        numbers = medians(readings)
        row = [name, *(f"{numbers[each]:.1f}" for each in ("cpu_us", "postgres_us", "per_s", "rss_mb"))]
        rows.append([*row, f"{numbers['failed']:.0f} of {numbers['requests']:.0f}"])
    share = ratio(found[many], found[ONE])
    return (
        grid(("gateway", "CPU us", "PG us", "req/s", "RSS MB", "failed"), rows)
        + f"\nCPU for a request, {many} to {ONE}: {share:.3f}"
    )


def _over_many_sockets(target: Target) -> Target:
    return replace(target, plan=replace(target.plan, sockets=SOCKETS))
