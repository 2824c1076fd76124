"""
CPU of the gateway for each request on one warm WebSocket.

Run as `python -m benchmarks.universal_socket [--requests N] [--in-flight N] [--chunks N]`. Gateway, provider and client
are three processes on loopback; what is printed is user and system time of the gateway's process alone, beside the
requests it served a second. The machine is shared with the other two processes, so compare only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import websockets
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 60}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 15, "total_tokens": 35},
    }
).encode()
DELTA = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "word "}}],
}
CHUNK = b"data: " + json.dumps(DELTA).encode() + b"\n\n"
WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TICKS = os.sysconf("SC_CLK_TCK")


class Provider(asyncio.Protocol):
    """Answers every POST with the same answer, or with a stream of so many chunks."""

    chunks = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head_end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:head_end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self.buffer) < head_end + 4 + length:
                return
            self.buffer = self.buffer[head_end + 4 + length :]
            self.answer()

    def answer(self) -> None:
        if not self.chunks:
            self.transport.write(WHOLE_HEAD % len(ANSWER) + ANSWER)
            return
        self.transport.write(STREAM_HEAD)
        self.piece(self.chunks)

    def piece(self, left: int) -> None:
        data = CHUNK if left else b"data: [DONE]\n\n"
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if left:
            asyncio.get_running_loop().call_soon(self.piece, left - 1)
        else:
            self.transport.write(b"0\r\n\r\n")


def provide(chunks: int, ready: Any) -> None:
    """Run the provider in a process of its own and say its port."""

    async def serve() -> None:
        Provider.chunks = chunks
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def ask(url: str, token: str, requests: int, in_flight: int, streaming: bool, done: Any) -> None:
    """Send all requests over one socket, so many at a time; says how long it took."""

    async def run() -> None:
        headers = {"cf-aig-authorization": f"Bearer {token}"}
        async with websockets.connect(url, additional_headers=headers, max_size=None, compression=None) as socket:
            query = {"model": "gpt-4o-mini", "stream": streaming, "messages": [{"role": "user", "content": "y" * 100}]}
            body = {"provider": "custom-stub", "endpoint": "chat/completions", "query": query}
            body["headers"] = {"Authorization": "Bearer sk-fake", "Content-Type": "application/json"}
            sent = 0
            began = time.monotonic()

            async def send() -> None:
                nonlocal sent
                sent += 1
                await socket.send(json.dumps({"type": "universal.create", "request": {"eventId": f"r{sent}", **body}}))

            for _ in range(in_flight):
                await send()
            finished = 0
            last = '{"type":"universal.done"' if streaming else '{"type":"universal.created"'
            while finished < requests:
                message = await socket.recv()
                if message.startswith(last):
                    finished += 1
                    if sent < requests:
                        await send()
            done.send(time.monotonic() - began)

    asyncio.run(run())


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(options: argparse.Namespace) -> None:
    """One run: warm up, then measure."""
    from twisted.internet import reactor

    from aigw.testing.gateway import GatewayProcess

    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    provider = context.Process(target=provide, args=(options.chunks, there), daemon=True)
    provider.start()
    port = here.recv()
    with tempfile.TemporaryDirectory(prefix="aigw-bench-") as folder:
        config = f'[providers.custom-stub]\nbase_url = "http://127.0.0.1:{port}/v1"\n{options.config}'
        gateway = await GatewayProcess.start(reactor, Path(folder) / "data", config=config).asFuture(
            asyncio.get_running_loop()
        )
        for requests in (options.requests // 5, options.requests):
            before = cpu_s(gateway.pid)
            client = context.Process(
                target=ask,
                args=(gateway.url, gateway.token, requests, options.in_flight, options.chunks > 0, there),
            )
            client.start()
            took_s = await asyncio.to_thread(here.recv)
            used_s = cpu_s(gateway.pid) - before
            await asyncio.to_thread(client.join)
        # Shipping goes on after the last answer; wait for its cost, too.
        await asyncio.sleep(2)
        shipped_s = cpu_s(gateway.pid) - before
        print(
            f"{requests} requests, {options.in_flight} in flight, {options.chunks} chunks: "
            f"{used_s / requests * 1e6:.0f} us CPU a request until the last answer, "
            f"{shipped_s / requests * 1e6:.0f} us with shipping, {requests / took_s:.0f} requests/s"
        )
        await gateway.stop().asFuture(asyncio.get_running_loop())
    provider.kill()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--chunks", type=int, default=0, help="0: a whole answer; else a stream of so many")
    parser.add_argument("--config", default="", help="more of the gateway's settings file")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    async def run() -> None:
        await measure(options)

    def begin() -> None:
        done = Deferred.fromFuture(loop.create_task(run()))
        done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
