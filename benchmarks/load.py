"""
Keeps requests in flight, over one WebSocket or many, or over HTTP connections: `python -m benchmarks.load`.

The first line of its input is a `Plan` in JSON. Each later line is a run, `{"requests": 1000}` or `{"seconds": 60}`; it
answers each with a line of JSON, a `Result`. The connections stay open between runs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import frames
from benchmarks.parent import input_lines

# Every body has this, so that no two requests are the same and a cache has to look further.
NUMBER = "#number#"
# And this, which becomes eight digits of the driver's own: two drivers of one gateway would else ask the same.
DRIVER = "#driver#"
TICK_S = 0.01
# Fewer than the 50 that a Twisted port lets wait: the kernel would have the others try again after a second.
CONNECT_AT_ONCE = 32

_CREATED = b'{"type":"universal.created"'
_DONE = b'{"type":"universal.done"'
_EVENT_ID = b'"eventId":"'
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """
    What is asked, and how.

    Attributes:
        front: `websocket` or `http`.
        host, port, path: Where.
        headers: Of the upgrade, or of each request.
        body: A message or a body; in it `#number#` becomes eight digits, and so does `#driver#`.
        stream: Whether the answers are streams.
        in_flight: Requests at a time, over all connections.
        sockets: WebSockets that share them; over HTTP each request has a connection of its own.
        abort_every: The connection of every such request is cut before its answer is complete; 0: of none.
        rate: Requests a second at most; 0: as many as go.
    """

    front: str
    host: str
    port: int
    path: str
    headers: dict[str, str]
    body: str
    stream: bool = False
    in_flight: int = 32
    sockets: int = 1
    abort_every: int = 0
    rate: float = 0


@dataclass
class Result:
    """
    What came of a run.

    Attributes:
        requests: Answered in full, well or not.
        failed: Of those, without status 200 or not to their end.
        aborted: Cut by ourselves.
        took_s: From the first to the last.
        p50_ms, p99_ms, longest_ms: From sending a request to the end of its answer.
        driver_cpu_s: Used by this process.
        trouble: The first answer that was no success.
    """

    requests: int = 0
    failed: int = 0
    aborted: int = 0
    took_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    longest_ms: float = 0.0
    driver_cpu_s: float = 0.0
    trouble: str = ""
    # Of each answer, in seconds; not told.
    latencies: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As it is printed."""
        self.latencies.sort()
        count = len(self.latencies)
        if count:
            self.p50_ms, self.p99_ms = (self.latencies[int(count * share)] * 1000 for share in (0.5, 0.99))
            self.longest_ms = self.latencies[-1] * 1000
        return {key: value for key, value in asdict(self).items() if key != "latencies"}


class Client(asyncio.Protocol):
    """
    One connection.

    Args:
        load: Told of each end.
        width: Requests that it has in flight.
    """

    def __init__(self, load: Load, width: int) -> None:
        self.load = load
        self.width = width
        self.running: dict[int, float] = {}
        self.doomed = 0
        self.rest = b""
        self.ready = False
        self.transport: Any = None

    async def connect(self) -> None:
        """Open the connection, to where requests can be sent."""
        self.rest, self.doomed = b"", 0
        plan = self.load.plan
        await asyncio.get_running_loop().create_connection(lambda: self, plan.host, plan.port)
        await self.opened()
        self.ready = True

    async def opened(self) -> None:
        """Whatever has to pass before the first request."""

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport

    def ask(self, number: int) -> None:
        """Send a request."""
        self.running[number] = time.perf_counter()
        self.send(self.load.body.replace(b"#number#", b"%08d" % number))
        if self.load.is_doomed(number):
            self.doomed = number
            if not self.load.plan.stream:
                asyncio.get_running_loop().call_soon(self.abort)

    def send(self, body: bytes) -> None:
        """Put one request on the wire."""
        raise NotImplementedError

    def answered(self, number: int, ok: bool, said: bytes = b"") -> None:
        """One request is over."""
        self.load.over(self, time.perf_counter() - self.running.pop(number), ok, said)

    def abort(self) -> None:
        """Vanish, with all that is in flight."""
        if self.doomed in self.running:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """By our own wish, by the gateway's, or between two runs."""
        self.ready = False
        aborted = len(self.running) if self.doomed in self.running else 0
        lost, self.running = len(self.running) - aborted, {}
        self.load.lost(self, aborted, lost)


class HttpClient(Client):
    """A kept-alive connection with one request at a time."""

    def __init__(self, load: Load, width: int) -> None:
        super().__init__(load, width)
        plan = load.plan
        fields = {"Host": f"{plan.host}:{plan.port}", "Content-Type": "application/json", **plan.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        length = len(load.body.replace(b"#number#", b"00000000"))
        self._head = f"POST {plan.path} HTTP/1.1\r\n{lines}Content-Length: {length}\r\n\r\n".encode()
        self._left = -1
        self._ok = False

    def send(self, body: bytes) -> None:
        """See `Client`."""
        self._left, self.rest = -1, b""
        self.transport.write(self._head + body)

    def data_received(self, data: bytes) -> None:
        """Look for the end of the answer, and at nothing else of its body."""
        if self.doomed:
            self.abort()
            return
        if self._left < 0:
            self.rest += data
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self.rest[: end + 2], self.rest[end + 4 :]
            self._ok = head.startswith(b"HTTP/1.1 200")
            length = _LENGTH.search(head)
            # Beyond any body: a chunked one ends by its last chunk.
            self._left = int(length[1]) if length else 2**60
            self.rest = self.rest if not self._ok else b""
        self._left -= len(data)
        if self._left >= 2**59:
            # Its beginning may have come in the piece before.
            tail = (self.rest[-8:] if self._ok else b"") + data
            if self._ok:
                self.rest = tail[-8:]
            if not tail.endswith(_LAST_CHUNK):
                return
        elif self._left > 0:
            return
        number = next(iter(self.running), 0)
        if number:
            self.answered(number, self._ok, self.rest)


class SocketClient(Client):
    """A WebSocket with many requests at a time."""

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        super().connection_made(transport)
        plan = self.load.plan
        self._open = asyncio.get_running_loop().create_future()
        fields = {
            "Host": f"{plan.host}:{plan.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **plan.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        transport.write(f"GET {plan.path} HTTP/1.1\r\n{lines}\r\n".encode())

    async def opened(self) -> None:
        """The handshake."""
        await self._open

    def send(self, body: bytes) -> None:
        """See `Client`."""
        self.transport.write(frames.masked(frames.TEXT, body))

    def data_received(self, data: bytes) -> None:
        """Read all frames that are complete."""
        data = self.rest + data if self.rest else data
        at = 0
        if not self._open.done():
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._open.set_exception(RuntimeError(data.decode("utf-8", "replace")))
                return
            self._open.set_result(None)
            at = end + 4
        while (frame := frames.read(data, at)) is not None:
            opcode, start, at = frame
            if opcode == frames.TEXT:
                self._read_message(data, start, at)
            elif opcode == frames.PING:
                self.transport.write(frames.masked(frames.PONG, data[start:at]))
            elif opcode == frames.CLOSE:
                self.transport.close()
        self.rest = data[at:]

    def _read_message(self, data: bytes, start: int, end: int) -> None:
        if self.doomed:
            self.abort()
        elif data.startswith(_CREATED, start):
            if self.load.plan.stream and data.find(b'"response":', start, end) < 0:
                return
            self._end(data, start, end, b'"status":200')
        elif data.startswith(_DONE, start):
            self._end(data, start, end, b'"complete":true')

    def _end(self, data: bytes, start: int, end: int, sign: bytes) -> None:
        at = data.find(_EVENT_ID, start, end) + len(_EVENT_ID)
        number = int(data[at : at + 8])
        ok = data.find(sign, start, end) >= 0
        self.answered(number, ok, b"" if ok else data[start:end])


class Load:
    """
    All connections of a plan.

    Args:
        plan: See there.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.body = plan.body.replace(DRIVER, os.urandom(4).hex()).encode()
        self._number = 0
        self._result = Result()
        self._to_start = 0
        self._until: float | None = None
        self._outstanding = 0
        self._idle: deque[Client] = deque()
        self._ended: asyncio.Event = asyncio.Event()
        self._reconnecting: set[asyncio.Task[None]] = set()
        make, count = (HttpClient, plan.in_flight) if plan.front == "http" else (SocketClient, plan.sockets)
        self._clients = [make(self, max(1, plan.in_flight // count)) for _ in range(count)]

    async def connect(self) -> None:
        """Open every connection."""
        for first in range(0, len(self._clients), CONNECT_AT_ONCE):
            some = self._clients[first : first + CONNECT_AT_ONCE]
            await asyncio.gather(*(client.connect() for client in some))

    def is_doomed(self, number: int) -> bool:
        """Whether this request is to be cut."""
        return bool(self.plan.abort_every) and number % self.plan.abort_every == 0

    async def run(self, requests: int = 0, seconds: float = 0) -> Result:
        """Ask so many requests, or for so long; the result, when the last is over."""
        result = self._result = Result()
        self._ended.clear()
        cpu_s, began = time.process_time(), time.perf_counter()
        self._to_start = requests if requests else 2**60
        self._until = began + seconds if seconds else None
        self._idle.clear()
        for client in self._clients:
            self._idle.extend([client] * client.width)
        ticking = asyncio.create_task(self._tick())
        await self._ended.wait()
        ticking.cancel()
        result.took_s = time.perf_counter() - began
        result.driver_cpu_s = time.process_time() - cpu_s
        return result

    def over(self, client: Client, latency_s: float, ok: bool, said: bytes) -> None:
        """A request was answered."""
        result = self._result
        result.requests += 1
        result.latencies.append(latency_s)
        if not ok:
            result.failed += 1
            result.trouble = result.trouble or said.decode("utf-8", "replace")[:500]
        self._outstanding -= 1
        self._free(client)

    def lost(self, client: Client, aborted: int, failed: int) -> None:
        """A connection is gone, with what was in flight on it."""
        self._result.aborted += aborted
        self._result.requests += failed
        self._result.failed += failed
        self._outstanding -= aborted + failed
        # What it could still have asked is asked when it is back.
        self._idle = deque(each for each in self._idle if each is not client)
        self._outstanding += 1
        task = asyncio.create_task(self._again(client))
        self._reconnecting.add(task)
        task.add_done_callback(self._reconnected)

    def _reconnected(self, task: asyncio.Task[None]) -> None:
        self._reconnecting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nobody is there any more: whoever waits for a result would do so for ever.
            print(f"no new connection: {error}", file=sys.stderr)
            os._exit(1)

    async def _again(self, client: Client) -> None:
        await client.connect()
        self._outstanding -= 1
        for _ in range(client.width):
            self._free(client)

    def _free(self, client: Client) -> None:
        if self.plan.rate or self._is_over():
            self._idle.append(client)
            self._look()
        else:
            self._start(client)

    def _start(self, client: Client) -> None:
        self._number += 1
        self._to_start -= 1
        self._outstanding += 1
        client.ask(self._number)

    def _is_over(self) -> bool:
        return self._to_start <= 0 or (self._until is not None and time.perf_counter() >= self._until)

    def _look(self) -> None:
        if self._is_over() and self._outstanding == 0:
            self._ended.set()

    async def _tick(self) -> None:
        """Start what may start: everything at once, or at the plan's rate."""
        allowed = 0.0
        last = time.perf_counter()
        while not self._is_over():
            now = time.perf_counter()
            allowed = min(allowed + (now - last) * self.plan.rate, 1000) if self.plan.rate else 2.0**60
            last = now
            while self._idle and allowed >= 1 and not self._is_over():
                allowed -= 1
                client = self._idle.popleft()
                # One that is being opened again comes back by itself.
                if client.ready:
                    self._start(client)
            await asyncio.sleep(TICK_S)
        self._look()


async def main() -> None:
    """Read the plan, connect, and run what is asked until the input ends."""
    lines = await input_lines()
    load = Load(Plan(**json.loads(await lines.readline())))
    await load.connect()
    print("connected", flush=True)
    while line := await lines.readline():
        result = await load.run(**json.loads(line))
        print(json.dumps(result.told()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
