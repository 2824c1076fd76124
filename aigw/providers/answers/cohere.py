"""
Cohere's chat (v1 and v2), embed and rerank.

https://docs.cohere.com/reference/chat-stream
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.peek import is_document, peek, string_at, string_bytes
from aigw.providers.usage import AnswerReader, first_count, member, text, usage_of
from aigw.values.usage import Usage

_ENDS = (b"message-end", b"stream-end")


class _Answer(msgspec.Struct, gc=False):
    model: Any = None
    # Version 2 says `usage`, version 1 and embed say `meta`.
    usage: Any = None
    meta: Any = None
    # Of the event that ends a stream, in version 2 and in version 1.
    delta: Any = None
    response: Any = None


_answer = msgspec.json.Decoder(_Answer)


class CohereReader(AnswerReader):
    """Reader of Cohere's own API: the usage comes with the event that ends the stream. Answers name no model."""

    family: ClassVar[str] = "cohere"

    __slots__ = ()

    def event(self, event: Event) -> None:
        data = event.data
        name = string_at(data, b'"event_type":') or event.name or string_at(data, b'"type":')
        if name in _ENDS:
            self._decode(data)
            self.terminal = True
        elif b'"error":' in data or name == b"error":
            self._fail(string_at(data, b'"error":').decode("utf-8", "replace") or "error")
        else:
            self.text_bytes += string_bytes(data, b'"text":')

    def body(self, data: bytes) -> None:
        """As in the base; version 1 streams one JSON object a line, of which the last tells the usage."""
        known = self._decode(data) or self._decode(data.rstrip().rpartition(b"\n")[2])
        self.terminal = known or is_document(data)

    def _decode(self, data: bytes) -> bool:
        told = peek(_answer, data)
        if told is None:
            return False
        ending = told.response if isinstance(told.response, dict) else told.delta
        self.model = text(told.model) or self.model
        for usage in (told.usage, told.meta, member(ending, "usage"), member(ending, "meta")):
            self.usage = cohere_usage(usage) or self.usage
        self._fail(member(ending, "error"))
        return True


def cohere_usage(told: object) -> Usage | None:
    """
    A usage in Cohere's wording: what is billed, which leaves out the tokens of Cohere's own preamble.

    Args:
        told: The `usage` or `meta` object as decoded, of whatever type.
    Returns:
        None when it tells no tokens.
    """
    for kind in ("billed_units", "tokens"):
        units = member(told, kind)
        usage = usage_of(
            first_count(units, "input_tokens"),
            first_count(units, "output_tokens"),
            first_count(told, "cached_tokens") or 0,
        )
        if usage is not None:
            return usage
    return None
