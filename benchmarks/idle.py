"""What many WebSockets that say nothing cost in memory."""

from __future__ import annotations

import asyncio
import resource
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import ours
from benchmarks.gateway import gateway
from benchmarks.parent import child
from benchmarks.processes import usage
from benchmarks.rounds import Driver

# Beside the sockets: the log, the database, the providers, the interpreter's own.
SPARE_FDS = 200
SETTLE_S = 2.0
_MB = 2**20


async def run(sockets: int) -> str:
    """
    Open so many sockets, and look at the gateway's memory.

    Returns:
        A few lines for people; what stands in the way, when the machine does not allow it.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < sockets + SPARE_FDS:
        return f"{sockets} sockets need {sockets + SPARE_FDS} file descriptors, and `ulimit -n` allows {limit}"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        stub = await stack.enter_async_context(child("benchmarks.stub"))
        running = await stack.enter_async_context(gateway(folder, int(await stub.line())))
        target = ours.over_socket(running)
        # One request first, so that whatever is loaded late is there before the first look.
        warm = await Driver.start(stack, target.plan_for(stream=False, in_flight=32))
        await warm.run(requests=1000)
        before = usage(running.pid)
        await Driver.start(stack, replace(target.plan, in_flight=sockets, sockets=sockets))
        await asyncio.sleep(SETTLE_S)
        after = usage(running.pid)
        open_sockets = (await running.metrics())["aigw_sockets"]
        await asyncio.sleep(SETTLE_S)
        idle = usage(running.pid)
    added = after.rss_bytes - before.rss_bytes
    return (
        f"{open_sockets:.0f} open sockets: {after.rss_bytes / _MB:.0f} MB resident, {before.rss_bytes / _MB:.0f} MB "
        f"before them, {added / sockets:.0f} bytes each\n"
        f"CPU while idle: {(idle.cpu_s - after.cpu_s) / SETTLE_S * 100:.1f} % of a core; opening one took "
        f"{(after.cpu_s - before.cpu_s) / sockets * 1e6:.0f} us"
    )
