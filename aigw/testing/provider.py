"""
A provider on loopback whose every byte, pause and fault a test decides.

```python
provider = ScriptedProvider(reactor)
await provider.start()
provider.on("/v1/chat/completions", event_stream(events, WAIT, b"data: [DONE]\\n\\n"))
... send a request to provider.url ...
await provider.when_requested(1)
provider.go("req-1")
await provider.close()
```

It stands on `Protocol`, with no HTTP server between script and socket.
"""

from __future__ import annotations

import enum
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import httptools
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


class Act(enum.Enum):
    """What a script may do besides sending bytes."""

    WAIT = enum.auto()
    """Go on only when the test calls `go`."""
    CLOSE = enum.auto()
    """Close the connection in good order."""
    RESET = enum.auto()
    """Abort the connection; what has not left by then is lost, so `WAIT` before it until the client has got it."""


WAIT, CLOSE, RESET = Act.WAIT, Act.CLOSE, Act.RESET


@attrs.frozen
class Flood:
    """
    So many bytes of body, sent only as fast as they are taken.

    Attributes:
        total_bytes: How many.
        piece: Sent over and over.
    """

    total_bytes: int
    piece: bytes = b"x" * 65_536


Step = bytes | Act | Flood
Script = Sequence[Step]


def answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Script:
    """A whole answer with a Content-Length."""
    return (head(status, {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}) + body,)


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Script:
    """A whole answer in JSON."""
    return answer(json.dumps(value).encode("utf-8"), status=status, headers=headers)


def event_stream(*steps: Step, status: int = 200, headers: Mapping[str, str] | None = None, end: bool = True) -> Script:
    """
    A chunked `text/event-stream`: every `bytes` of `steps` is one chunk, however it splits the events.

    Args:
        steps: Bytes and acts.
        status: HTTP status.
        headers: Further header fields.
        end: False leaves out the last chunk, so that the body is cut short when the connection closes.
    """
    fields = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **(headers or {})}
    chunks = [b"%x\r\n%s\r\n" % (len(step), step) if isinstance(step, bytes) else step for step in steps]
    return (head(status, fields), *chunks, *((b"0\r\n\r\n",) if end else ()))


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """A status line and header fields."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@attrs.frozen
class Seen:
    """
    A request as it came.

    Attributes:
        id: `req-1`, `req-2` ... in the order of their coming.
        method, path: Of the request line; the path with its query string.
        headers: In order, names in lower case.
        body: Every byte, but for what is beyond the provider's `kept_bytes`; empty when the answer was early.
        connection: Number of the connection, from 1.
        body_bytes: Length of the whole body.
    """

    id: str
    method: bytes
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    connection: int
    body_bytes: int = 0

    def header(self, name: bytes) -> bytes | None:
        """The first field of this name."""
        return next((value for field, value in self.headers if field == name), None)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class ScriptedProvider:
    """
    Args:
        reactor: Listens.
        tls: A context factory, to speak TLS.
        kept_bytes: How much of each body is kept; the rest is counted and forgotten.
    Attributes:
        requests: All that came.
        broken: Numbers of the connections that were lost in the middle of a request.
        received_bytes: All bytes of bodies.
        stopped: Ids of requests whose connection the client closed before the script had ended.
        sent_bytes: All that was handed to sockets.
        connections: How many were ever accepted.
        open_connections: How many are open.
    """

    def __init__(self, reactor: Any, tls: Any = None, kept_bytes: int = 1 << 40) -> None:
        self._reactor = reactor
        self._tls = tls
        self._port: IListeningPort | None = None
        self._scripts: dict[str, Script | Callable[[Seen], Script]] = {}
        self._early: dict[str, Script] = {}
        self._reading = True
        self._live: dict[str, _Line] = {}
        self._lines: set[_Line] = set()
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._emptied: Deferred[None] | None = None
        self.kept_bytes = kept_bytes
        self.requests: list[Seen] = []
        self.stopped: list[str] = []
        self.broken: list[int] = []
        self.received_bytes = 0
        self.sent_bytes = 0
        self.connections = 0

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._lines)

    # Before -----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        factory = Factory.forProtocol(lambda: _Line(self))
        factory.noisy = False
        if self._tls is None:
            self._port = self._reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            self._port = self._reactor.listenSSL(0, factory, self._tls, interface="127.0.0.1")

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        if self._port is None:
            raise RuntimeError("the provider has not been started")
        address = self._port.getHost()
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{address.port}"  # type: ignore[attr-defined]  # a TCP port has an IPv4Address

    def on(self, name: str, script: Script | Callable[[Seen], Script]) -> None:
        """
        Say how to answer from now on.

        Args:
            name: A model (of a JSON body), else a path without its query string, else `*` for all the rest.
            script: What to send and do, step by step; or what makes that of a request. A connection that is still open
                at its end takes a next request.
        """
        self._scripts[name] = script

    def on_head(self, path: str, script: Script) -> None:
        """Say how to answer a path before the body has come; the body is then read and forgotten."""
        self._early[path] = script

    # During -----------------------------------------------------------------------------------------------------------

    def go(self, request_id: str, times: int = 1) -> None:
        """Let a request's script go on past its next `WAIT`s."""
        for _ in range(times):
            self._live[request_id].go()

    def hold(self) -> None:
        """Read nothing from any connection until `release`."""
        self._reading = False
        for line in self._lines:
            line.transport.pauseProducing()

    def release(self) -> None:
        """Read on."""
        self._reading = True
        for line in self._lines:
            line.transport.resumeProducing()

    def when_requested(self, count: int) -> Deferred[None]:
        """Fires when so many requests have come in all."""
        return self._when(lambda: len(self.requests) >= count)

    def when_stopped(self, count: int) -> Deferred[None]:
        """Fires when the client has cut so many requests in all."""
        return self._when(lambda: len(self.stopped) >= count)

    def when_broken(self, count: int) -> Deferred[None]:
        """Fires when so many connections in all were lost in the middle of a request."""
        return self._when(lambda: len(self.broken) >= count)

    def when_received(self, count: int) -> Deferred[None]:
        """Fires when so many bytes of bodies have come in all."""
        return self._when(lambda: self.received_bytes >= count)

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._port is not None:
            port, self._port = self._port, None
            await maybeDeferred(port.stopListening)
        if self._lines:
            self._emptied = Deferred()
            for line in list(self._lines):
                line.transport.abortConnection()
            await self._emptied

    def _when(self, ready: Callable[[], bool]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._waits.append((ready, done))
        self._check()
        return done

    def _check(self) -> None:
        # A callback may wait for something else.
        waits, self._waits = self._waits, []
        for ready, done in waits:
            if ready():
                done.callback(None)
            else:
                self._waits.append((ready, done))

    # Told by the lines ------------------------------------------------------------------------------------------------

    def _connected(self, line: _Line) -> int:
        self.connections += 1
        self._lines.add(line)
        if not self._reading:
            line.transport.pauseProducing()
        return self.connections

    def _received(self, count: int) -> None:
        self.received_bytes += count
        self._check()

    def _early_script(self, path: bytes) -> Script | None:
        return self._early.get(path.partition(b"?")[0].decode("latin-1"))

    def _requested(self, line: _Line, seen: Seen, early: Script | None) -> Script:
        names = (_model(seen), seen.path.partition(b"?")[0].decode("latin-1"), "*")
        script = early or next((self._scripts[name] for name in names if name in self._scripts), _NO_SCRIPT)
        self.requests.append(seen)
        self._live[seen.id] = line
        self._check()
        return script(seen) if callable(script) else script

    def _lost(self, line: _Line, cut: str | None, broken: int | None) -> None:
        self._lines.discard(line)
        if broken is not None:
            self.broken.append(broken)
        if cut is not None:
            self.stopped.append(cut)
        self._check()
        if self._emptied is not None and not self._lines:
            self._emptied.callback(None)


_NO_SCRIPT = json_answer({"error": {"message": "no script for this request"}}, status=404)


def _model(seen: Seen) -> str:
    try:
        return str(json.loads(seen.body)["model"])
    except (ValueError, KeyError, TypeError):
        return ""


@implementer(IPullProducer)
class _Line(Protocol):
    """One connection: reads requests, and plays the script of each before it reads the next."""

    transport: Any

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._half = False
        self._early: Script | None = None
        self._ready: deque[tuple[Seen, Script | None]] = deque()
        self._playing: Seen | None = None
        self._steps: deque[Step] = deque()
        self._waiting = False
        self._permits = 0
        self._flood: Flood | None = None
        self._flood_left = 0

    def connectionMade(self) -> None:
        self._number = self._provider._connected(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        ours = self._steps and self._steps[0] in (CLOSE, RESET)
        cut = self._playing.id if self._playing is not None and not ours else None
        self._playing = None
        self._provider._lost(self, cut, self._number if self._half else None)

    # Called by httptools ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", [], []
        self._body_bytes = 0
        self._half = True
        self._early = None

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._early = self._provider._early_script(self._path)
        if self._early is not None:
            self._take(self._early)

    def on_body(self, piece: bytes) -> None:
        if self._body_bytes < self._provider.kept_bytes:
            self._body.append(piece[: self._provider.kept_bytes - self._body_bytes])
        self._body_bytes += len(piece)
        self._provider._received(len(piece))

    def on_message_complete(self) -> None:
        self._half = False
        if self._early is None:
            self._take(None)

    def _take(self, early: Script | None) -> None:
        """A request is there, whole or with an answer that does not wait for its body."""
        name = f"req-{len(self._provider.requests) + len(self._ready) + 1}"
        method, headers, body = self._parser.get_method(), tuple(self._headers), b"".join(self._body)
        seen = Seen(name, method, self._path, headers, body, self._number, self._body_bytes)
        if self._playing is None:
            self._begin(seen, early)
        else:
            self._ready.append((seen, early))

    # The script -------------------------------------------------------------------------------------------------------

    def _begin(self, seen: Seen, early: Script | None) -> None:
        self._playing = seen
        self._permits = 0
        self._steps = deque(self._provider._requested(self, seen, early))
        self._play()

    def go(self) -> None:
        """Pass the `WAIT` that the script stands at, or the next that it comes to."""
        self._permits += 1
        if self._waiting:
            self._waiting = False
            self._permits -= 1
            self._play()

    def _play(self) -> None:
        while self._steps:
            step = self._steps[0]
            if step in (CLOSE, RESET):
                # It stays at the front: that is how `connectionLost` knows whose doing it was.
                self.transport.loseConnection() if step is CLOSE else self.transport.abortConnection()
                return
            self._steps.popleft()
            if isinstance(step, bytes):
                self._write(step)
            elif isinstance(step, Flood):
                self._flood, self._flood_left = step, step.total_bytes
                self.transport.registerProducer(self, False)
                return
            elif self._permits:
                self._permits -= 1
            else:
                self._waiting = True
                return
        self._playing = None
        if self._ready:
            self._begin(*self._ready.popleft())

    def _write(self, data: bytes) -> None:
        self._provider.sent_bytes += len(data)
        self.transport.write(data)

    def resumeProducing(self) -> None:
        """The socket takes more of a flood."""
        assert self._flood is not None
        piece = self._flood.piece[: self._flood_left]
        self._flood_left -= len(piece)
        self._write(piece)
        if not self._flood_left:
            self.transport.unregisterProducer()
            self._flood = None
            self._play()

    def stopProducing(self) -> None:
        """The connection is gone."""
