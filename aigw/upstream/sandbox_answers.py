"""What the sandbox says, in OpenAI's form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import cycle, islice

import attrs
import msgspec

from aigw.upstream.sandbox_script import Script, read_script
from aigw.values.step import Headers

_VOCABULARY = ("the ", "quick ", "brown ", "fox ", "jumps ", "over ", "a ", "lazy ", "dog ", "and ", "runs ", "on ")
_SILENT = "Hello from the sandbox."
_JSON = b"application/json"
_DIMENSIONS = 8
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str = "user"
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Question(msgspec.Struct):
    """
    What is read of a request's body.

    Attributes:
        model, stream, stream_options, messages: Of a chat completion.
        input: Of an embeddings request.
    """

    model: str = "echo"
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    messages: list[_Message] = []
    input: str | list[str] = ""


@attrs.frozen
class Reply:
    """
    Attributes:
        status: HTTP status.
        fields: Header fields.
        chunks: The body's pieces, in order.
    """

    status: int
    fields: Headers
    chunks: Iterator[bytes]


@attrs.frozen
class Stamp:
    """
    Attributes:
        number: Counts the sandbox's answers.
        created: Seconds since the epoch.
    """

    number: int
    created: int


def reply(path: bytes, body: bytes, stamp: Stamp) -> tuple[Script, Reply]:
    """
    Answer a request.

    Args:
        path: With or without a version before it, without a query string.
        body: As sent.
        stamp: For the answer's id and date.
    Returns:
        How to answer, and the answer.
    """
    if path.endswith(b"/models"):
        return Script(), _json(200, {"object": "list", "data": [{"id": "echo", "object": "model", "owned_by": "aigw"}]})
    try:
        question = msgspec.json.decode(body, type=Question)
    except (msgspec.DecodeError, RecursionError):
        return Script(), _error(400, "The body is not a request that the sandbox can read.")
    script = read_script(question.model)
    if script.rate_limited:
        return script, _error(429, "The sandbox was asked to be rate limited.", ((b"retry-after", b"1"),))
    if script.status:
        return script, _error(script.status, f"The sandbox was asked for a {script.status}.")
    if script.garbage:
        return script, _whole(200, _JSON, b"<html>this is no JSON, {whatever} the header says")
    if script.binary:
        frames = (b"\xff\xfb\x90\x64" + bytes(range(256)) * 4 for _ in range(script.words or 8))
        return script, Reply(200, ((b"content-type", b"audio/mpeg"),), frames)
    if path.endswith(b"/embeddings"):
        return script, _embeddings(question)
    if path.endswith(b"/chat/completions"):
        return script, _chat(question, script, stamp)
    return Script(), _error(404, "The sandbox knows chat/completions, embeddings and models.")


def _chat(question: Question, script: Script, stamp: Stamp) -> Reply:
    told = _last_user_text(question) or _SILENT
    words = re.findall(r"\S+\s*", told) if script.words is None else islice(cycle(_VOCABULARY), script.words)
    if question.stream:
        options = question.stream_options
        with_usage = bool(options and options.include_usage) and not script.no_usage
        events = _events(question, iter(words), stamp, with_usage)
        return Reply(200, ((b"content-type", b"text/event-stream; charset=utf-8"),), events)
    said = list(words)
    message = {"role": "assistant", "content": "".join(said)}
    body = {
        **_common("chat.completion", question.model, stamp),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }
    if not script.no_usage:
        body["usage"] = _usage(question, len(said))
    return _json(200, body)


def _events(question: Question, words: Iterator[str], stamp: Stamp, with_usage: bool) -> Iterator[bytes]:
    """The chunks of a stream, one event each."""
    common = _common("chat.completion.chunk", question.model, stamp)
    rest = {"usage": None} if with_usage else {}

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**common, "choices": [choice], **rest})

    yield event({"role": "assistant", "content": ""})
    count = 0
    for word in words:
        count += 1
        yield event({"content": word})
    yield event({}, "stop")
    if with_usage:
        yield _event({**common, "choices": [], "usage": _usage(question, count)})
    yield b"data: [DONE]\n\n"


def _embeddings(question: Question) -> Reply:
    texts = [question.input] if isinstance(question.input, str) else question.input
    data = [{"object": "embedding", "index": n, "embedding": _vector(text)} for n, text in enumerate(texts)]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json(200, {"object": "list", "data": data, "model": question.model, "usage": usage})


def _vector(text: str) -> list[float]:
    """The same few numbers for the same text, between -1 and 1."""
    return [byte / 127.5 - 1 for byte in hashlib.sha256(text.encode("utf-8")).digest()[:_DIMENSIONS]]


def _last_user_text(question: Question) -> str:
    return next((_text(message) for message in reversed(question.messages) if message.role == "user"), "")


def _text(message: _Message) -> str:
    content = message.content
    return "".join(part.text for part in content) if isinstance(content, list) else content or ""


def _usage(question: Question, words: int) -> dict[str, int]:
    """Every word is a token here."""
    prompt = sum(len(_text(message).split()) for message in question.messages)
    return {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words}


def _common(kind: str, model: str, stamp: Stamp) -> dict[str, object]:
    return {"id": f"chatcmpl-sandbox-{stamp.number}", "object": kind, "created": stamp.created, "model": model}


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _error(status: int, message: str, fields: Headers = ()) -> Reply:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return _json(status, {"error": {"message": message, "type": kind, "param": None, "code": None}}, fields)


def _json(status: int, value: object, fields: Headers = ()) -> Reply:
    return _whole(status, _JSON, msgspec.json.encode(value), fields)


def _whole(status: int, content_type: bytes, body: bytes, fields: Headers = ()) -> Reply:
    length = b"%d" % len(body)
    return Reply(status, ((b"content-type", content_type), (b"content-length", length), *fields), iter((body,)))
