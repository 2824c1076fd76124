"""
What one small provider call costs in CPU: ours against treq over Twisted's Agent, side by side.

    python -m benchmarks.upstream_call [--calls 10000] [--in-flight 32]

A stub in a process of its own answers each POST with 300 bytes on a kept-alive connection. Only the client's CPU is
counted. Absolute times hold for one machine; the ratio travels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import protocol
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool

from aigw.errors import GatewayError
from aigw.serving.wheel import Wheel
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.step import Clocks, Headers, UpstreamRequest

ROUNDS = 10
BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 120 + b'"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 300\r\n\r\n" + b"y" * 300
FIELDS = ((b"content-type", b"application/json"), (b"authorization", b"Bearer sk-fake"))


class Stub(protocol.Protocol):
    """Answers whatever ends with our body."""

    def connectionMade(self) -> None:
        self.rest = b""

    def dataReceived(self, data: bytes) -> None:
        self.rest += data
        if self.rest.endswith(BODY):
            self.rest = b""
            self.transport.write(ANSWER)


class StubProcess(protocol.ProcessProtocol):
    """Tells the port that the stub listens on."""

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._told = b""

    def outReceived(self, data: bytes) -> None:
        self._told += data
        if self._told.endswith(b"\n"):
            self.port.callback(int(self._told))

    def processEnded(self, reason: Any) -> None:
        self.gone.callback(None)


class Once:
    """A receiver that keeps nothing."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def resent(self) -> None: ...

    def head(self, status: int, headers: Headers) -> None: ...

    def data(self, chunk: bytes) -> None: ...

    def completed(self) -> None:
        self.done.callback(None)

    def failed(self, error: GatewayError) -> None:
        self.done.errback(error)


class UntilEof(protocol.Protocol):
    """Ends the stub when its parent does, however that ends."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any = protocol.connectionDone) -> None:
        self.done.callback(None)


async def serve(reactor: Any) -> None:
    """The stub's process."""
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(protocol.Factory.forProtocol(Stub))
    parent = UntilEof()
    StandardIO(parent, reactor=reactor)
    parent.transport.write(b"%d\n" % port.getHost().port)
    await parent.done


async def measure(call: Callable[[], Awaitable[object]], calls: int, in_flight: int) -> float:
    """Microseconds of CPU a call, with so many callers in a loop each."""

    async def caller(count: int) -> None:
        for _ in range(count):
            await call()

    async def storm(total: int) -> None:
        await gatherResults([Deferred.fromCoroutine(caller(total // in_flight)) for _ in range(in_flight)])

    before = time.process_time()
    await storm(calls)
    return (time.process_time() - before) / (calls // in_flight * in_flight) * 1e6


async def compare(reactor: Any, calls: int, in_flight: int) -> None:
    """Run both and print."""
    stub = StubProcess()
    process = reactor.spawnProcess(
        stub, sys.executable, [sys.executable, "-m", "benchmarks.upstream_call", "--serve"], env=None
    )
    url = f"http://127.0.0.1:{await stub.port}/v1/chat/completions"

    upstream = Upstream(reactor, Wheel(reactor), UpstreamSettings(), time.time)
    request = UpstreamRequest(b"POST", url.encode("ascii"), FIELDS, BODY, Clocks(), trusted=True)

    async def ours() -> None:
        receiver = Once()
        upstream.send(request, receiver)
        await receiver.done

    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = in_flight
    client = HTTPClient(Agent(reactor, pool=pool))
    fields = dict(FIELDS)

    async def treqs() -> None:
        await treq.content(await client.post(url, data=BODY, headers=fields))

    await measure(ours, in_flight, in_flight)
    await measure(treqs, in_flight, in_flight)
    # In turns, so that whatever else the machine does weighs on both.
    mine = theirs = 0.0
    for _ in range(ROUNDS):
        mine += await measure(ours, calls // ROUNDS, in_flight) / ROUNDS
        theirs += await measure(treqs, calls // ROUNDS, in_flight) / ROUNDS
    print(f"ours {mine:6.1f} us   treq over Agent {theirs:6.1f} us   ratio {mine / theirs:.3f}")
    await upstream.close()
    await pool.closeCachedConnections()
    process.closeStdin()
    await stub.gone


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--serve", action="store_true", help="be the stub")
    told = parser.parse_args()
    if told.serve:
        react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))
    else:
        react(lambda reactor: Deferred.fromCoroutine(compare(reactor, told.calls, told.in_flight)))


if __name__ == "__main__":
    main()
