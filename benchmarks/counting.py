"""
What a request costs in calls, counted: the same on every machine, so that it can be held by a test.

    python -m benchmarks.counting [--update] [--top 20]

A fixed number of requests goes through a data port in memory, with the controls of `gateway.toml`; the providers answer
in the next turn. What is counted is every call of a function, Python's and C's, in our own code and in that of the
libraries, but not the client's. `--update` keeps the numbers in `records/counting.json`, `--top` shows where they are.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import msgspec

from aigw.providers.settings import ProviderSettings
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.upstream import EVENT_STREAM, ScriptedCall, ScriptedUpstream
from aigw.values.gateway import Gateway
from benchmarks import frames
from benchmarks.gateway import CONFIG
from benchmarks.load import NUMBER, Plan
from benchmarks.ours import CONTROLLED, PLAIN, over_http, over_socket
from benchmarks.stub import answer, chunks

RECORD = Path(__file__).with_name("records") / "counting.json"
WARM = 40
REQUESTS = 200
AT_ONCE = 8
# Above the record, before it counts as worse; a library's new release may be so much.
TOLERANCE = 0.05

PYTHON = ".".join(platform.python_version_tuple()[:2])


class How(NamedTuple):
    """
    Attributes:
        front: `websocket`, `universal` or `native`.
        stream: Whether the answers are streams.
        gateway: Of the settings file.
    """

    front: str
    stream: bool = False
    gateway: str = CONTROLLED


RUNS = {
    "websocket": How("websocket"),
    "websocket, no controls": How("websocket", gateway=PLAIN),
    "websocket, stream": How("websocket", stream=True),
    "HTTP universal": How("universal"),
    "HTTP native": How("native"),
}

_SHOWN = 500
_BODY = answer()
_EVENTS = [*chunks()]


class AnsweringUpstream(ScriptedUpstream):
    """Providers that answer in the next turn: a stream, event by event, to whoever asks for one."""

    clock: Any = None

    def send(self, request: Any, receiver: Any) -> ScriptedCall:
        """See `IUpstream`."""
        call = super().send(request, receiver)
        self.calls.clear()
        self.clock.callLater(0, self._answer, call, b'"stream": true' in request.body)
        return call

    def _answer(self, call: ScriptedCall, stream: bool) -> None:
        if not stream:
            call.answer(_BODY)
            return
        call.head(headers=EVENT_STREAM)
        call.data(*_EVENTS)
        call.complete()


class Stand:
    """Stands in the place of a gateway's process: what the plans are made of."""

    host, port, pid = "gateway.test", 80, 0
    token = bounded_token = TOKEN


class Calls:
    """
    Counts calls while it is switched on.

    Attributes:
        by_place: Package (or `C` function) and name of what was called.
    """

    def __init__(self) -> None:
        self.by_place: Counter[Any] = Counter()

    def run(self, job: Callable[[], object]) -> None:
        """Do something, and count."""
        by_place = self.by_place

        def see(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                by_place[frame.f_code] += 1
            elif event == "c_call":
                by_place[argument.__qualname__] += 1

        sys.setprofile(see)
        try:
            job()
        finally:
            sys.setprofile(None)

    @property
    def total(self) -> int:
        """All of them."""
        return self.by_place.total()


class Run:
    """
    One front of one gateway, asked again and again.

    Args:
        how: See `How`.
        cached: Whether answers are stored; they stay in memory, as they should.
    """

    def __init__(self, how: How, cached: bool = True) -> None:
        gateway = _gateway(how.gateway)
        upstream = AnsweringUpstream()
        self._port = MemoryDataPort(
            gateways=(gateway if cached else msgspec.structs.replace(gateway, cache_ttl=0),),
            upstream=upstream,
            providers={"openai": ProviderSettings(base_url="http://stub.test")},
        )
        upstream.clock = self._port.clock
        self._plan = _plan(how)
        self._numbers = count(1)
        upgrade = _upgrade(self._plan) if self._plan.front == "websocket" else b""
        self._link, self._client = self._port.connect_raw(upgrade)

    def ask(self, requests: int) -> None:
        """
        Have so many requests answered.

        Raises:
            RuntimeError: One was answered with an error.
        """
        client, port = self._client, self._port
        for _ in range(requests // AT_ONCE):
            for _ in range(AT_ONCE):
                client.send(_request(self._plan, next(self._numbers)))
                if self._plan.front == "http":
                    self._link.settle()
            self._link.settle()
            if b'"error"' in client.received:
                raise RuntimeError(client.received[-_SHOWN:].decode("utf-8", "replace"))
            # Nobody reads them: they would only look like a leak.
            client.received = b""
            for kept in (port.sink.begun, port.sink.ended, port.meter.records):
                kept.clear()


def calls_of(how: How) -> Calls:
    """The calls of `REQUESTS` requests."""
    calls, run = Calls(), Run(how)
    run.ask(WARM)
    # What a collection calls depends on when it comes.
    gc.collect()
    gc.disable()
    try:
        calls.run(lambda: run.ask(REQUESTS))
    finally:
        gc.enable()
    return calls


def kept_blocks(how: How) -> float:
    """Blocks of memory that a request leaves behind, but for its answer in the cache."""
    run = Run(how, cached=False)
    run.ask(WARM)
    gc.collect()
    before = sys.getallocatedblocks()
    run.ask(REQUESTS)
    gc.collect()
    return (sys.getallocatedblocks() - before) / REQUESTS


def _gateway(name: str) -> Gateway:
    declared = tomllib.loads(Template(CONFIG.read_text()).substitute(STUB=0, STORE="memory"))["gateway"]
    return next(one for one in (msgspec.convert(each, Gateway, strict=False) for each in declared) if one.id == name)


def _plan(how: How) -> Plan:
    stand: Any = Stand()
    socket, universal, native = over_socket(stand, how.gateway), *over_http(stand, how.gateway)
    return {"websocket": socket, "universal": universal, "native": native}[how.front].plan_for(how.stream, 1)


def _upgrade(plan: Plan) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())
    return (
        f"GET {plan.path} HTTP/1.1\r\nHost: {plan.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{lines}\r\n"
    ).encode()


def _request(plan: Plan, number: int) -> bytes:
    body = plan.body.replace(NUMBER, f"{number:08d}").encode()
    if plan.front == "websocket":
        return frames.masked(frames.TEXT, body)
    fields = {"Host": plan.host, "Content-Type": "application/json", "Content-Length": len(body), **plan.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {plan.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def found() -> dict[str, dict[str, float]]:
    """All runs, by their name."""
    return {
        name: {"calls": round(calls_of(how).total / REQUESTS, 2), "kept_blocks": round(kept_blocks(how), 2)}
        for name, how in RUNS.items()
    }


def recorded() -> dict[str, Any]:
    """The record."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


def show(name: str, calls: Calls, top: int) -> str:
    """Where the calls of a run went: by package, and the functions called most."""
    packages: Counter[str] = Counter()
    for place, number in calls.by_place.items():
        packages[_package(place)] += number
    lines = [f"{name}: " + ", ".join(f"{each} {number / REQUESTS:.1f}" for each, number in packages.most_common(8))]
    for place, number in calls.by_place.most_common(top):
        words = f"{_package(place)} {place if isinstance(place, str) else place.co_qualname}"
        lines.append(f"  {number / REQUESTS:8.2f}  {words}")
    return "\n".join(lines)


def _package(place: Any) -> str:
    if isinstance(place, str):
        return "C"
    parts = Path(place.co_filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "aigw" if "aigw" in parts else "python"


def main() -> None:
    """Read the options and count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counting", description=__doc__)
    parser.add_argument("--update", action="store_true", help="keep the numbers")
    parser.add_argument("--json", action="store_true", help="print the numbers for a program")
    parser.add_argument("--top", type=int, default=0, help="show so many functions of each run")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets would differ from run to run, and with it a call here and there.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "benchmarks.counting", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if options.top:
        for name, how in RUNS.items():
            print(show(name, calls_of(how), options.top))
        return
    numbers = found()
    if options.update:
        RECORD.write_text(json.dumps({"python": PYTHON, "runs": numbers}, indent=1) + "\n")
    if options.json:
        print(json.dumps(numbers))
        return
    before = recorded()["runs"]
    for name, now in numbers.items():
        was = before.get(name, {}).get("calls", 0)
        change = f"{(now['calls'] / was - 1) * 100:+.1f} %" if was else "new"
        print(f"{name:24} {now['calls']:9.2f} calls ({change}), {now['kept_blocks']:.2f} blocks kept")


if __name__ == "__main__":
    main()
