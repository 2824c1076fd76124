"""Writes `application/vnd.amazon.eventstream`, for providers that tests play."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from zlib import crc32

from aigw.values.step import Headers

EVENT_STREAM: Headers = ((b"content-type", b"application/vnd.amazon.eventstream"),)


def frame(payload: bytes, headers: Mapping[bytes, bytes] | None = None, raw_headers: bytes = b"") -> bytes:
    """
    One message.

    Args:
        payload: Of any length.
        headers: Texts by name.
        raw_headers: Encoded already; stand behind the others.
    """
    block = b"".join(
        struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value
        for name, value in (headers or {}).items()
    )
    block += raw_headers
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))


def event(kind: str, value: object) -> bytes:
    """An event as Bedrock sends it: its kind in the headers, its members as JSON."""
    return frame(json.dumps(value).encode(), _described(b"event", b":event-type", kind))


def chunk(value: object) -> bytes:
    """A piece of a model's own stream, as `invoke-with-response-stream` wraps it."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(value).encode()).decode(), "p": "abcdefghij"})


def exception(kind: str, message: str) -> bytes:
    """A failure in the middle of a stream."""
    return frame(json.dumps({"message": message}).encode(), _described(b"exception", b":exception-type", kind))


def _described(message_type: bytes, name: bytes, kind: str) -> dict[bytes, bytes]:
    return {name: kind.encode(), b":content-type": b"application/json", b":message-type": message_type}
