"""JSON as text: checked, looked into and cut out without being rebuilt."""

from __future__ import annotations

import json
import re

import msgspec

_RAW = msgspec.json.Decoder(msgspec.Raw)

# A high surrogate with no low one behind it, or a low one with no high one before it. Both are legal JSON, and msgspec
# refuses the whole text for them.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)"
    rb"(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
_MASK = b"\\u0041"

# How far a text that no parser takes is searched for its event id: reading on would hand an attacker our time.
SEARCHED_BYTES = 65_536
_STRING = rb'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrtu])*)"'


def is_json(data: bytes) -> bool:
    """Whether these bytes are one JSON value in valid UTF-8, fit to be spliced into a text frame."""
    try:
        _RAW.decode(data)
        if not data.isascii():
            data.decode("utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # msgspec takes a lone surrogate for a cut text; the wire may carry it all the same.
        return b"\\u" in data and _is_json_but_for_surrogates(data)
    return True


def _is_json_but_for_surrogates(data: bytes) -> bool:
    masked, found = mask_lone_surrogates(data)
    if not found:
        return False
    try:
        _RAW.decode(masked)
        data.decode("utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def mask_lone_surrogates(data: bytes) -> tuple[bytes, list[int]]:
    """
    Replace lone surrogate escapes by as many harmless bytes.

    Args:
        data: A JSON text.
    Returns:
        A text of the same length, so that offsets hold in both, and where the escapes stood.
    """
    found: list[int] = []

    def mask(match: re.Match[bytes]) -> bytes:
        backslashes, pair, lone = match.groups()
        if lone is None:
            return bytes(backslashes + pair)
        found.append(match.start(3))
        return bytes(backslashes + _MASK)

    return _LONE_SURROGATE.sub(mask, data), found


def repeated_key(text: bytes) -> str | None:
    """
    A key that some object of a small JSON text holds twice.

    Args:
        text: Valid JSON of a few hundred bytes: the envelope with the large parts cut out.
    Returns:
        The key, or None.
    """
    repeated: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=look)
    return repeated[0] if repeated else None


def find_string(text: bytes, key: bytes) -> str | None:
    """
    The first string value of a key in a text that need not be JSON: a best effort for error messages.

    Args:
        text: What the client sent; only its first `SEARCHED_BYTES` are looked at.
        key: Without quotes.
    Returns:
        The value, or None when there is none that can be read.
    """
    match = re.search(rb'"' + re.escape(key) + rb'"[ \t\r\n]*:[ \t\r\n]*' + _STRING, text[:SEARCHED_BYTES])
    if match is None:
        return None
    try:
        value = json.loads(b'"' + match.group(1) + b'"')
        value.encode("utf-8")
    except (ValueError, UnicodeError):
        return None
    return str(value)
