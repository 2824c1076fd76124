"""What a request's body says of itself, read without decoding the rest of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from aigw.values.record import TEXT_CHARS


class _Body(msgspec.Struct, gc=False):
    model: Any = None
    model_id: Any = None


_decoder = msgspec.json.Decoder(_Body)


def model_of_body(body: bytes) -> str:
    """
    The model that a JSON body names in `model` (or `model_id`, as voice vendors do).

    Returns:
        At most `TEXT_CHARS` characters; empty when it names none, or is no JSON object.
    """
    if body[:1] != b"{" and body.lstrip()[:1] != b"{":
        return ""
    try:
        peek = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return ""
    for value in (peek.model, peek.model_id):
        if isinstance(value, str) and value:
            return value[:TEXT_CHARS]
    return ""


def model_of_query(query: str) -> str:
    """The model that a query string names in `model`, empty without one."""
    return parse_qs(query).get("model", [""])[0][:TEXT_CHARS] if "model=" in query else ""
