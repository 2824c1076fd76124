"""What a request's body says of itself, read without decoding the rest of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from aigw.providers.peek import peek
from aigw.values.record import TEXT_CHARS


class _Body(msgspec.Struct, gc=False):
    model: Any = None
    model_id: Any = None


_body = msgspec.json.Decoder(_Body)


def model_of_body(body: bytes) -> str:
    """
    The model that a JSON body names in `model` (or `model_id`, as voice vendors do).

    Returns:
        At most `TEXT_CHARS` characters; empty when it names none, or is no JSON object.
    """
    if body[:1] != b"{" and body.lstrip()[:1] != b"{":
        return ""
    named = peek(_body, body)
    for value in (named.model, named.model_id) if named is not None else ():
        if isinstance(value, str) and value:
            return value[:TEXT_CHARS]
    return ""


def model_of_query(query: str) -> str:
    """The model that a query string names in `model`, empty without one."""
    return parse_qs(query).get("model", [""])[0][:TEXT_CHARS] if "model=" in query else ""


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    parts: list[_Part] = []


class _Request(msgspec.Struct, gc=False):
    messages: list[_Message] = []
    contents: list[_Message] = []
    system: str | list[_Part] | None = None
    instructions: str | None = None
    prompt: str | list[str] | None = None
    input: str | list[_Message] | None = None
    inputs: str | None = None
    message: str | None = None


_request = msgspec.json.Decoder(_Request)


def request_text_bytes(body: bytes) -> int:
    """
    Length of the text in a request's body, pictures and settings left out.

    Args:
        body: A chat, completion or responses request in any family's wording.
    Returns:
        Bytes of UTF-8; the length of the whole body when its shape is unknown.
    """
    request = peek(_request, body)
    if request is None:
        return len(body)
    total = sum(_text(message.content) + _text(message.parts) for message in request.messages + request.contents)
    if isinstance(request.input, list):
        total += sum(_text(message.content) for message in request.input)
    else:
        total += _text(request.input)
    if isinstance(request.prompt, list):
        total += sum(_text(prompt) for prompt in request.prompt)
    else:
        total += _text(request.prompt)
    return total + sum(_text(one) for one in (request.system, request.instructions, request.inputs, request.message))


def _text(value: str | list[_Part] | None) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8"))
    return sum(len((part.text or "").encode("utf-8")) for part in value or ())
