"""
Bedrock's two interfaces: `invoke`, with each model's own wording, and `converse`, with one for all models.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.event_stream import CONTENT_TYPE
from aigw.codecs.sse import Event
from aigw.providers.answers.anthropic import AnthropicReader
from aigw.providers.answers.bedrock_stream import FAILED, BedrockStream
from aigw.providers.answers.openai_chat import openai_usage
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.usage import AnswerReader, EventParser, first_count, member, usage_of
from aigw.values.step import Headers
from aigw.values.usage import Usage

_METRICS = b"amazon-bedrock-invocationMetrics"
# Counts of an invocation, whatever the model: header field of an answer, and member of a stream's metrics.
_COUNTED = {
    b"x-amzn-bedrock-input-token-count": "inputTokens",
    b"x-amzn-bedrock-output-token-count": "outputTokens",
    b"x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokens",
    b"x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokens",
}


# Where models of other makers than Anthropic have their text.
_OTHER_TEXTS = (b'"generation":', b'"outputText":', b'"text":', b'"content":')


class _Body(msgspec.Struct, gc=False):
    usage: Any = None
    metrics: Any = msgspec.field(name="amazon-bedrock-invocationMetrics", default=None)
    metadata: Any = None


_body = msgspec.json.Decoder(_Body)
_object = msgspec.json.Decoder(dict[str, Any])


class BedrockInvokeReader(AnthropicReader):
    """
    Reader of one model's own answers, of which Anthropic's are the most.

    What Bedrock itself counts stands in the header of an answer and in the last event of a stream. The model's own
    usage goes before it, since it tells more of caches. The model that an answer names is left out: prices go by the
    region that only the path's name for it has.
    """

    family: ClassVar[str] = "bedrock-invoke"

    __slots__ = ("_header_usage",)

    def __init__(self) -> None:
        super().__init__()
        self._header_usage: Usage | None = None

    def parser(self, content_type: str, max_event_bytes: int) -> EventParser | None:
        return bedrock_parser(content_type, max_event_bytes) or super().parser(content_type, max_event_bytes)

    def head(self, headers: Headers) -> None:
        counts = {_COUNTED[name]: value for name, value in headers if name in _COUNTED}
        if counts:
            self._header_usage = bedrock_usage({name: _number(value) for name, value in counts.items()})

    def event(self, event: Event) -> None:
        if event.name == FAILED:
            self._fail(failure_of(event.data))
            return
        before = self.text_bytes
        super().event(event)
        self.model = ""
        if self.text_bytes == before:
            self.text_bytes += string_bytes(event.data, *_OTHER_TEXTS)
        # Models of every maker end with Bedrock's own counts.
        if _METRICS in event.data:
            self.terminal = True
            self._take_metrics(event.data)

    def _take_metrics(self, data: bytes) -> None:
        told = peek(_body, data)
        if told is not None and self.usage is None:
            metrics = {name.removesuffix("Count") + "s": value for name, value in _items(told.metrics)}
            self.usage = bedrock_usage(member(told.metadata, "usage")) or bedrock_usage(metrics)
            self._counted = self.usage is not None

    def body(self, data: bytes) -> None:
        told = peek(_body, data)
        if told is not None and isinstance(told.usage, dict):
            if "input_tokens" in told.usage:
                super().body(data)
                self.model = ""
            else:
                self.usage = bedrock_usage(told.usage) or openai_usage(told.usage)
        self.usage = self.usage or self._header_usage
        self.terminal = told is not None or is_document(data)


class BedrockConverseReader(AnswerReader):
    """Reader of conversations: `messageStop` ends a stream's text, and `metadata` behind it tells the usage."""

    family: ClassVar[str] = "bedrock-converse"

    __slots__ = ()

    def parser(self, content_type: str, max_event_bytes: int) -> EventParser | None:
        return bedrock_parser(content_type, max_event_bytes) or super().parser(content_type, max_event_bytes)

    def event(self, event: Event) -> None:
        if event.name == b"contentBlockDelta":
            self.text_bytes += string_bytes(event.data, b'"text":', b'"input":')
        elif event.name == b"metadata":
            self.terminal = True
            told = peek(_object, event.data) or {}
            self.usage = bedrock_usage(member(told.get("metadata"), "usage")) or self.usage
        elif event.name == FAILED:
            self._fail(failure_of(event.data))

    def body(self, data: bytes) -> None:
        told = peek(_body, data)
        if told is not None:
            self.usage = bedrock_usage(told.usage)
        self.terminal = told is not None or is_document(data)


def bedrock_parser(content_type: str, max_event_bytes: int) -> BedrockStream | None:
    """What cuts AWS's event stream; None for an answer of another type."""
    return BedrockStream(max_event_bytes) if content_type[: len(CONTENT_TYPE)].lower() == CONTENT_TYPE else None


def bedrock_usage(told: object) -> Usage | None:
    """
    A usage in Bedrock's wording, whose `inputTokens` leaves out what the cache had or took.

    Args:
        told: The `usage` object as decoded, of whatever type. Nova's own answers say `cacheReadInputTokenCount`.
    Returns:
        None when it tells no counts.
    """
    fresh = first_count(told, "inputTokens")
    read = first_count(told, "cacheReadInputTokens", "cacheReadInputTokenCount") or 0
    written = first_count(told, "cacheWriteInputTokens", "cacheWriteInputTokenCount") or 0
    tokens_in = None if fresh is None and not read and not written else (fresh or 0) + read + written
    usage = usage_of(tokens_in, first_count(told, "outputTokens"), read, written)
    hour = sum(
        first_count(detail, "inputTokens") or 0
        for detail in _list(member(told, "cacheDetails"))
        if member(detail, "ttl") == "1h"
    )
    return msgspec.structs.replace(usage, cache_write_1h=min(hour, usage.cache_write)) if usage and hour else usage


def failure_of(data: bytes) -> object:
    """What an event of failure says: the message of its one member, or that member's name."""
    for name, told in (peek(_object, data) or {}).items():
        return member(told, "message") or name or "error"
    return "error"


def _number(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 12 else None


def _items(told: object) -> list[tuple[str, Any]]:
    return list(told.items()) if isinstance(told, dict) else []


def _list(told: object) -> list[Any]:
    return told if isinstance(told, list) else []
