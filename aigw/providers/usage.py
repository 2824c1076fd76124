"""Reading along in answers: what every family's reader shares."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec

from aigw.codecs.sse import Event
from aigw.values.record import TEXT_CHARS
from aigw.values.usage import Usage

T = TypeVar("T")

# No answer of today comes near it; a larger number is a vendor's mistake.
MAX_TOKENS = 1_000_000_000

# The rule of thumb for English text. Tokenizers would be exact, but are slow on hostile text and differ by model.
BYTES_PER_TOKEN = 4


class AnswerReader:
    """
    Reads one answer as it passes: `event` for each event of a stream, or `body` once for any other answer.

    Nothing a vendor sends makes it raise; what cannot be understood is passed over.

    Attributes:
        usage: What the vendor told, None until then.
        model: As the vendor names it, empty until then.
        terminal: Whether the answer has shown its own end: the family's end mark (an error event is one), or a whole
            JSON document. Families without an end mark leave the end to the framing and say True.
        error: The vendor's text of an error inside the answer, empty without one.
        text_bytes: Length of the answer's text so far, for an estimate.
    """

    family: ClassVar[str]

    __slots__ = ("error", "model", "terminal", "text_bytes", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.terminal = False
        self.error = ""
        self.text_bytes = 0

    def event(self, event: Event) -> None:
        """Take the next event of a stream."""
        raise NotImplementedError

    def body(self, data: bytes) -> None:
        """Take a whole answer that is no stream; anything but JSON is passed over."""
        raise NotImplementedError

    def estimate(self, request_body: bytes) -> Usage | None:
        """
        Guess the usage of a stream whose vendor told none, or not all.

        Args:
            request_body: As it was sent.
        Returns:
            `usage`, which is set to the guess; None when the answer had no text to guess by.
        """
        if self.usage is None and self.text_bytes:
            self.usage = Usage(
                tokens_in=tokens_of(request_text_bytes(request_body)),
                tokens_out=tokens_of(self.text_bytes),
                estimated=True,
            )
        return self.usage

    def _fail(self, told: object) -> None:
        """Note an error of the vendor; it ends the answer."""
        if told:
            self.error = error_text(told)
            self.terminal = True


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


def text(told: object) -> str:
    """A name that a vendor told, cut to what the log keeps; empty when it is no text."""
    return told[:TEXT_CHARS] if isinstance(told, str) else ""


def error_text(told: object) -> str:
    """The words of a vendor's error, which is a text or an object with one of a few usual names in it."""
    if isinstance(told, dict):
        words = next((told[name] for name in ("message", "detail", "code", "type") if told.get(name)), "")
    else:
        words = told
    return str(words)[:TEXT_CHARS] if isinstance(words, (str, int)) and words else "error"


def count(told: object) -> int | None:
    """A number of tokens out of a vendor's JSON; None when it is none that makes sense."""
    # Cohere writes 12.0; True is an int to Python.
    if isinstance(told, float) and told == told // 1:
        told = int(told)
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= MAX_TOKENS:
        return told
    return None


def first_count(told: object, *names: str) -> int | None:
    """The first sensible count among the named members of an object."""
    if isinstance(told, dict):
        for name in names:
            found = count(told.get(name))
            if found is not None:
                return found
    return None


def usage_of(tokens_in: int | None, tokens_out: int | None, cache_read: int = 0, cache_write: int = 0) -> Usage | None:
    """A usage out of counts as vendors tell them; None when both sides are missing. Parts never exceed the whole."""
    if tokens_in is None and tokens_out is None:
        return None
    whole = tokens_in or 0
    read = min(cache_read, whole)
    return Usage(whole, tokens_out or 0, read, min(cache_write, whole - read))


def member(told: object, name: str) -> Any:
    """A member of an object, None when there is none or it is no object."""
    return told.get(name) if isinstance(told, dict) else None


def tokens_of(text_bytes: int) -> int:
    """The guess for a text of so many bytes of UTF-8; at least one token."""
    return max(1, -(-text_bytes // BYTES_PER_TOKEN))


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
