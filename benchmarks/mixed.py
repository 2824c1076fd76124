"""Mixed load with aborts for a long time: what grows, what is kept, and how long the reactor is held."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import ours
from benchmarks.gateway import Gateway, gateway
from benchmarks.parent import child
from benchmarks.processes import Usage, usage
from benchmarks.rounds import Driver

# Each driver cuts every twentieth of its requests: 5 %.
ABORT_EVERY = 20
WARM_SHARE = 0.2
SAMPLES = 40
PROBE_S = 0.01
SETTLE_S = 3.0
_MB = 2**20
_TEN_MINUTES_S = 600.0


async def run(minutes: float, rate: float) -> str:
    """
    Load a gateway over all fronts.

    Args:
        minutes: How long, without the warming up before.
        rate: Requests a second of each of the four drivers.
    Returns:
        Lines for people.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        turns = folder / "turns.json"
        stub = await stack.enter_async_context(child("benchmarks.stub"))
        running = await stack.enter_async_context(gateway(folder, int(await stub.line()), turns=turns))
        drivers = await _drivers(stack, running, rate)
        await _load(drivers, minutes * 60 * WARM_SHARE)
        before = usage(running.pid)
        os.kill(running.pid, signal.SIGUSR2)
        probing = asyncio.create_task(_probe(running.control_url))
        sampling = asyncio.create_task(_sample(running.pid, minutes * 60 / SAMPLES))
        told = await _load(drivers, minutes * 60)
        for task in (probing, sampling):
            task.cancel()
        await asyncio.sleep(SETTLE_S)
        after = usage(running.pid)
        turns.unlink()
        os.kill(running.pid, signal.SIGUSR2)
        while not turns.exists():
            await asyncio.sleep(PROBE_S)
        held = json.loads(turns.read_text())
        slowest_ms = max(await probing, default=0.0)
        samples = await sampling
        reactor_metrics = {key: value for key, value in (await running.metrics()).items() if "reactor" in key}
    return "\n".join(_lines(told, samples, before, after, held, slowest_ms, reactor_metrics))


async def _drivers(stack: AsyncExitStack, running: Gateway, rate: float) -> list[Driver]:
    """Whole answers and streams, over WebSockets and over HTTP; a socket for each request, for an abort closes it."""
    socket, (universal, native) = ours.over_socket(running), tuple(ours.over_http(running))
    plans = [
        *(replace(socket.plan_for(stream, 16), sockets=16) for stream in (False, True)),
        *(universal.plan_for(False, 16), native.plan_for(True, 8)),
    ]
    return [await Driver.start(stack, replace(plan, abort_every=ABORT_EVERY, rate=rate)) for plan in plans]


async def _load(drivers: list[Driver], seconds: float) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(driver.run(seconds=seconds) for driver in drivers)))


async def _sample(pid: int, every_s: float) -> list[tuple[float, Usage]]:
    """Looks at the gateway, again and again until cancelled."""
    samples = []
    try:
        while True:
            samples.append((time.monotonic(), usage(pid)))
            await asyncio.sleep(every_s)
    except asyncio.CancelledError:
        return samples


async def _probe(control_url: str) -> list[float]:
    """Asks `/health` again and again until cancelled; the milliseconds of each answer."""
    address = urlsplit(control_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    took: list[float] = []
    try:
        while True:
            began = time.perf_counter()
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b'{"status":"ok"}')
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PROBE_S)
    except asyncio.CancelledError:
        writer.close()
        return took


def _lines(
    told: list[dict[str, Any]],
    samples: list[tuple[float, Usage]],
    before: Usage,
    after: Usage,
    held: dict[str, float],
    slowest_ms: float,
    reactor_metrics: dict[str, float],
) -> list[str]:
    requests, failed, aborted = (sum(each[name] for each in told) for name in ("requests", "failed", "aborted"))
    growth = _slope([(at, one.rss_bytes / _MB) for at, one in samples]) * _TEN_MINUTES_S
    return [
        f"{requests} requests answered ({failed} failed), {aborted} aborted ({aborted / (requests + aborted):.1%})",
        f"memory: {before.rss_bytes / _MB:.1f} MB before, {after.rss_bytes / _MB:.1f} MB after; "
        f"{growth:+.2f} MB in 10 minutes (least squares over {len(samples)} looks)",
        f"file descriptors: {before.fds} before, {after.fds} after",
        f"longest turn of the reactor: {held['longest_ms']:.1f} ms by the clock, {held['longest_cpu_ms']:.1f} ms of "
        f"its CPU; longest garbage collection: {held['longest_gc_ms']:.1f} ms",
        f"turns over 25 ms by the clock: {held['over_25_ms']:.0f} of {held['turns']:.0f}",
        f"slowest /health, asked every {PROBE_S * 1000:.0f} ms: {slowest_ms:.1f} ms (with the wait for a free core, "
        "and blind between two questions)",
        *(f"{name}: {value}" for name, value in reactor_metrics.items()),
        *(f"trouble: {each['trouble'][:200]}" for each in told if each["trouble"]),
    ]


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line through them, in units of the second to one of the first."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x, mean_y = (sum(point[axis] for point in points) / count for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
