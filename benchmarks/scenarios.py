"""What is measured: the fronts of our gateway beside the peers, in the situations of the table in docs/performance."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.checks import check
from benchmarks.gateway import Gateway, gateway
from benchmarks.parent import child
from benchmarks.peers import PEERS, Direct, Peer, Unavailable
from benchmarks.rounds import Entry, Reading, measure, medians, ratio


@dataclass(frozen=True)
class Scenario:
    """
    Attributes:
        title: In the table.
        stream: Whether the answers are streams of 64 chunks.
        in_flight: Requests at a time.
    """

    title: str
    stream: bool
    in_flight: int


SCENARIOS = {
    "whole": Scenario("whole answer of 300 bytes, 32 in flight", False, 32),
    "whole64": Scenario("whole answer of 300 bytes, 64 in flight", False, 64),
    "stream": Scenario("stream of 64 chunks, 32 in flight", True, 32),
    "single": Scenario("whole answer of 300 bytes, 1 in flight", False, 1),
}

# A connection that was closed while it was idle may cost a request now and then.
FAILED_SHARE = 0.01
TROUBLE_CHARS = 200


@dataclass
class Found:
    """
    What a run of the scenarios has found.

    Attributes:
        numbers: By scenario and target; see `Reading`.
        ratios: By scenario: of each of our fronts to each other target, in CPU for a request.
        added_ms: By target: p50 at one in flight above that of the stub itself.
        missing: Peers that could not be measured, and why.
        off: Controls that could not be switched on, and why.
        checks: Whether each control has seen each request.
    """

    numbers: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    ratios: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    added_ms: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    off: list[str] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)


class Shipping:
    """
    Waits for the rows of our gateway's runs.

    Args:
        gateway: Runs.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.requests = 0

    async def settle(self, requests: int) -> None:
        """See `Settle`."""
        self.requests += requests
        await self._gateway.shipped(self.requests)


async def run(names: Sequence[str], peers: Sequence[str], rounds: int, seconds: float) -> Found:
    """
    Run the scenarios, our gateway and all peers side by side.

    Args:
        names: Keys of `SCENARIOS`.
        peers: First words of the peers' names; empty: all.
        rounds, seconds: See `measure`.
    """
    found = Found()
    wanted = [peer for peer in PEERS if not peers or peer.name.split()[0].lower() in peers]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        stub = await stack.enter_async_context(child("benchmarks.stub"))
        stub_port = int(await stub.line())
        running = await stack.enter_async_context(gateway(folder, stub_port))
        shipping = Shipping(running)
        mine = [ours.over_socket(running), *ours.over_http(running)]
        entries = [Entry(target, shipping.settle) for target in mine]
        direct: Peer = Direct(stub.pid)
        for peer in (direct, *wanted):
            try:
                await peer.install()
                entries.append(Entry(await stack.enter_async_context(peer.run(folder, stub_port))))
            except Unavailable as reason:
                found.missing[peer.name] = str(reason)
        for name in names:
            scenario = SCENARIOS[name]
            print(f"... {scenario.title}", flush=True)
            some = [entry for entry in entries if entry.target.name != direct.name or scenario.in_flight == 1]
            readings = await measure(some, scenario.stream, scenario.in_flight, rounds, seconds)
            _keep(found, name, readings, [target.name for target in mine], direct.name)
        found.off = running.missing
        found.checks = await check(running, shipping.requests, ours.CONTROLLED)
    return found


def _keep(found: Found, name: str, readings: dict[str, list[Reading]], mine: Sequence[str], direct: str) -> None:
    found.numbers[name] = {target: medians(each) for target, each in readings.items()}
    broken = {target: _broken(each) for target, each in readings.items()}
    for target, why in broken.items():
        if why:
            found.missing[f"{target}, {SCENARIOS[name].title}"] = why
    others = [target for target in readings if target not in mine and target != direct and not broken[target]]
    found.ratios[name] = {one: {other: ratio(readings[one], readings[other]) for other in others} for one in mine}
    if direct in readings:
        for target in readings:
            pairs = zip(readings[target], readings[direct], strict=True)
            found.added_ms[target] = round(sorted(a.p50_ms - b.p50_ms for a, b in pairs)[len(readings[target]) // 2], 3)


def _broken(readings: Sequence[Reading]) -> str:
    """Why a target's numbers say nothing: errors are answered faster than questions. Empty: they do."""
    asked, failed = sum(each.requests for each in readings), sum(each.failed for each in readings)
    if failed <= asked * FAILED_SHARE:
        return ""
    return (
        f"{failed} of {asked} failed: {next((each.trouble for each in readings if each.trouble), '')[-TROUBLE_CHARS:]}"
    )
