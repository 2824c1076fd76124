"""
Anthropic's Messages API.

https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.peek import is_document, peek, string_at, string_bytes
from aigw.providers.usage import AnswerReader, first_count, member, text, tokens_of, usage_of
from aigw.values.usage import Usage

_TEXTS = (b'"text":', b'"thinking":', b'"partial_json":')
# The counts, each of which may come at the start, at the end, or both; the last one told holds.
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class _Message(msgspec.Struct, gc=False):
    model: Any = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    message: _Message | None = None
    usage: Any = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(_Message)


class AnthropicReader(AnswerReader):
    """Reader of messages: input counts come with `message_start`, the final output count with `message_delta`."""

    family: ClassVar[str] = "anthropic"

    __slots__ = ("_counted", "_told")

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, Any] = {}
        # Whether the output count is the final one; `message_start` has a first guess of the vendor's.
        self._counted = False

    def event(self, event: Event) -> None:
        data = event.data
        name = event.name or string_at(data, b'"type":')
        if name == b"content_block_delta":
            self.text_bytes += string_bytes(data, *_TEXTS)
        elif name == b"message_stop":
            self.terminal = True
        elif name in (b"message_start", b"message_delta", b"error"):
            self._decode(name, data)

    def _decode(self, name: bytes, data: bytes) -> None:
        told = peek(_event, data)
        if name == b"error":
            self._fail((told.error if told else None) or "error")
        elif told is not None:
            if told.message is not None:
                self.model = self.model or text(told.message.model)
                self._take(told.message.usage)
            if name == b"message_delta" and first_count(told.usage, "output_tokens") is not None:
                self._counted = True
            self._take(told.usage)

    def _take(self, told: object) -> None:
        for name in _COUNTS:
            found = first_count(told, name)
            if found is not None:
                self._told[name] = found
        by_age = member(told, "cache_creation")
        if isinstance(by_age, dict):
            self._told["cache_creation"] = by_age
        self.usage = anthropic_usage(self._told)

    def body(self, data: bytes) -> None:
        told = peek(_message, data)
        if told is not None:
            self.model = text(told.model)
            self.usage = anthropic_usage(told.usage)
            self._fail(told.error)
        self.terminal = told is not None or is_document(data)

    def estimate(self, request_body: bytes) -> Usage | None:
        """As in the base; a stream that was cut has told its input already, so that only the output is guessed."""
        if self.usage is None:
            return super().estimate(request_body)
        if not self._counted and self.text_bytes:
            guess = max(self.usage.tokens_out, tokens_of(self.text_bytes))
            self.usage = msgspec.structs.replace(self.usage, tokens_out=guess, estimated=True)
        return self.usage


def anthropic_usage(told: object) -> Usage | None:
    """
    A usage in Anthropic's wording, whose `input_tokens` leaves out what the cache had or took.

    Args:
        told: The `usage` object as decoded, of whatever type.
    Returns:
        None when it tells no counts.
    """
    fresh = first_count(told, "input_tokens")
    read = first_count(told, "cache_read_input_tokens") or 0
    written = first_count(told, "cache_creation_input_tokens") or 0
    tokens_in = None if fresh is None and not read and not written else (fresh or 0) + read + written
    hour = first_count(member(told, "cache_creation"), "ephemeral_1h_input_tokens") or 0
    usage = usage_of(tokens_in, first_count(told, "output_tokens"), read, written)
    return msgspec.structs.replace(usage, cache_write_1h=min(hour, usage.cache_write)) if usage and hour else usage
