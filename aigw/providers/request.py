"""What a request's body says of itself, read without decoding the rest of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from aigw.providers.peek import peek
from aigw.values.record import TEXT_CHARS
from aigw.values.step import Ask


class _Body(msgspec.Struct, gc=False):
    model: Any = None
    model_id: Any = None
    models: Any = None
    stream: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    generationConfig: Any = None
    inferenceConfig: Any = None


_body = msgspec.json.Decoder(_Body)
UNREAD = Ask(sure=False)
# More than any model writes, so that a made-up number stays a number.
_MOST_TOKENS = 10_000_000
_MOST_ANSWERS = 128


def ask_of_body(body: bytes) -> Ask:
    """
    What a JSON body asks for: the model in `model` (or `model_id`, as voice vendors do), cut to `TEXT_CHARS`, and how
    much of an answer, in the wording of whichever vendor.

    Returns:
        `UNREAD` when the body is no JSON object.
    """
    if body[:1] != b"{" and body.lstrip()[:1] != b"{":
        return UNREAD
    told = peek(_body, body)
    if told is None:
        return UNREAD
    named = [name for name in (told.model, told.model_id) if isinstance(name, str) and name]
    model = named[0] if named else ""
    # Another vendor reads the other name, and some try a list of models in turn.
    sure = bool(model) and model == named[-1] and not told.models
    output_tokens = told.max_completion_tokens or told.max_tokens or told.max_output_tokens
    answers = told.n
    if isinstance(told.generationConfig, dict):
        output_tokens, answers = (told.generationConfig.get(name) for name in ("maxOutputTokens", "candidateCount"))
    elif isinstance(told.inferenceConfig, dict):
        output_tokens = told.inferenceConfig.get("maxTokens")
    return Ask(
        model[:TEXT_CHARS],
        told.stream is True,
        _count(output_tokens, 0, _MOST_TOKENS),
        _count(answers, 1, _MOST_ANSWERS),
        sure,
    )


def _count(value: Any, least: int, most: int) -> int:
    return min(max(value, least), most) if type(value) is int else least


def model_of_query(query: str) -> tuple[str, bool]:
    """The model that a query string names in `model`, empty without one; and whether it names no other beside it."""
    named = parse_qs(query, keep_blank_values=True).get("model", [""]) if "=" in query else [""]
    return named[0][:TEXT_CHARS], len(set(named)) == 1


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
