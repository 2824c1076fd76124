"""
A provider that answers at once: `python -m benchmarks.stub` prints its port and serves until its input ends.

A POST gets a chat completion of 300 bytes or, where the body says `"stream": true`, 64 chunks and `[DONE]`. Each chunk
is a write of its own, and a turn of the loop lies between two, so that streams interleave as real ones do. `GET /count`
tells how many POSTs there were.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

from benchmarks.parent import until_input_ends

ANSWER_BYTES = 300
CHUNKS = 64
MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 42, "completion_tokens": 63, "total_tokens": 105}

_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)


def answer() -> bytes:
    """A whole answer, padded to its length."""
    value: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    missing = ANSWER_BYTES - len(_compact(value))
    value["choices"][0]["message"]["content"] = "x" * missing
    return _compact(value)


def chunks() -> list[bytes]:
    """The events of a stream: words, and the usage in the last chunk; then the end of it."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL}
    first = {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    word = {**head, "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
    stop = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {**head, "choices": [], "usage": USAGE}
    values = [first, *[word] * (CHUNKS - 3), stop, usage]
    return [b"data: %b\n\n" % _compact(value) for value in values] + [b"data: [DONE]\n\n"]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE = _whole(answer())
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECES = [*(_chunk(event) for event in chunks()), b"0\r\n\r\n"]


class Provider(asyncio.Protocol):
    """One connection to the stub."""

    posts = 0

    def __init__(self, pace_s: float) -> None:
        self._pace_s = pace_s
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        """A gateway has connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request whose body is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            body_at, body_end = end + 4, self._end(head, end + 4)
            if body_end < 0:
                return
            body, self._buffer = self._buffer[body_at:body_end], self._buffer[body_end:]
            self._answer(head, body)

    def _end(self, head: bytes, body_at: int) -> int:
        """Where the body ends; -1 when that has not come yet."""
        if _CHUNKED.search(head):
            last = self._buffer.find(b"0\r\n\r\n", body_at)
            return last + 5 if last >= 0 else -1
        length = _LENGTH.search(head)
        end = body_at + (int(length[1]) if length else 0)
        return end if len(self._buffer) >= end else -1

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self._transport.write(_whole(b"%d" % Provider.posts))
            return
        Provider.posts += 1
        if _STREAM.search(body):
            self._transport.write(STREAM_HEAD)
            self._send_piece(0)
        else:
            self._transport.write(WHOLE)

    def _send_piece(self, index: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(PIECES[index])
        if index + 1 == len(PIECES):
            return
        if self._pace_s:
            self._loop.call_later(self._pace_s, self._send_piece, index + 1)
        else:
            self._loop.call_soon(self._send_piece, index + 1)


async def serve(pace_s: float) -> None:
    """Serve on a free port, and say which."""
    server = await asyncio.get_running_loop().create_server(lambda: Provider(pace_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await until_input_ends()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0))
