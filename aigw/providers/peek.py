"""Looking into JSON for a few fields, without decoding the rest of it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def peek(decoder: msgspec.json.Decoder[T], data: bytes) -> T | None:
    """The few fields that a decoder knows, out of JSON; None when it is none of that shape."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


_whole = msgspec.json.Decoder(msgspec.Raw)


def is_document(data: bytes) -> bool:
    """Whether bytes are one whole JSON document, of whatever shape."""
    return peek(_whole, data) is not None


def _string_start(data: bytes, key: bytes) -> int:
    """Where the string behind the first `key` begins, -1 when the key is absent or its value is no string."""
    at = data.find(key)
    if at < 0:
        return -1
    at += len(key)
    if data.startswith(b'"', at):
        return at + 1
    return at + 2 if data.startswith(b' "', at) else -1


def string_at(data: bytes, key: bytes) -> bytes:
    """
    The raw JSON string behind the first `key` in a small event, without decoding the event.

    Args:
        data: JSON.
        key: With its quotes and colon, such as `b'"type":'`. Quotes inside JSON strings are escaped, so that a key
            never matches inside of one.
    Returns:
        What stands between the quotes, escapes as written; empty when the value is no string.
    """
    at = _string_start(data, key)
    if at < 0:
        return b""
    end = data.find(b'"', at)
    while end > at and data[end - 1] == 0x5C and _escaped(data, end, at):
        end = data.find(b'"', end + 1)
    return data[at:end] if end > 0 else b""


def _escaped(data: bytes, quote: int, start: int) -> bool:
    """Whether an odd number of backslashes stands before a quote."""
    before = quote
    while before > start and data[before - 1] == 0x5C:
        before -= 1
    return (quote - before) % 2 == 1


def string_bytes(data: bytes, *keys: bytes) -> int:
    r"""
    Length of the string behind the first of some keys that has one which is not empty; keys as in `string_at`.

    Returns:
        Bytes of UTF-8, nearly: an escape counts 1, `\uXXXX` counts 3. 0 without a string.
    """
    for key in keys:
        at = _string_start(data, key)
        if at < 0:
            continue
        # Called for every event of a stream: most are a few letters without an escape.
        end = data.find(b'"', at)
        if data.find(b"\\", at, end) < 0:
            length = max(0, end - at)
        else:
            raw = string_at(data, key)
            length = len(raw) - raw.count(b"\\") + raw.count(b"\\\\") - 2 * raw.count(b"\\u")
        if length:
            return length
    return 0
