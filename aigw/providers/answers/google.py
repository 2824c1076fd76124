"""
Google's `generateContent` and `streamGenerateContent`.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.usage import AnswerReader, first_count, text, usage_of
from aigw.values.usage import Usage


class _Chunk(msgspec.Struct, gc=False, rename="camel"):
    model_version: Any = None
    usage_metadata: Any = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)
_chunks = msgspec.json.Decoder(list[_Chunk])


class GoogleReader(AnswerReader):
    """Reader of generated content: every chunk repeats the usage so far, and the last one has a finish reason."""

    family: ClassVar[str] = "google"

    __slots__ = ("_last",)

    def __init__(self) -> None:
        super().__init__()
        # The latest chunk that told usage, decoded once the stream is over.
        self._last = b""

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]":
            self.terminal = True
            return
        self.text_bytes += string_bytes(data, b'"text":')
        # A prompt that is refused gets one chunk, with a block reason in the place of candidates.
        if b'"finishReason"' in data or b'"blockReason"' in data:
            self.terminal = True
        if self.terminal or not self.model or b'"error":' in data:
            self._decode(data)
        elif b'"usageMetadata"' in data:
            self._last = data

    def _decode(self, data: bytes) -> None:
        chunk = peek(_chunk, data)
        if chunk is not None:
            self._take(chunk)

    def _take(self, chunk: _Chunk) -> None:
        self.model = text(chunk.model_version) or self.model
        self.usage = google_usage(chunk.usage_metadata) or self.usage
        self._fail(chunk.error)

    def body(self, data: bytes) -> None:
        """As in the base; a stream asked for without `alt=sse` is one JSON array of chunks."""
        chunks = peek(_chunks, data) if data.lstrip()[:1] == b"[" else None
        if chunks is None:
            chunk = peek(_chunk, data)
            chunks = [] if chunk is None else [chunk]
        for chunk in chunks:
            self._take(chunk)
        self.terminal = bool(chunks) or is_document(data)

    def estimate(self, request_body: bytes) -> Usage | None:
        """As in the base; a stream that was cut has told its usage so far."""
        if self._last and not self.terminal:
            self._decode(self._last)
        return super().estimate(request_body)


def google_usage(told: object) -> Usage | None:
    """
    A usage in Google's wording. Thoughts and the prompts of tools are counted apart there, cached tokens are not.

    Args:
        told: The `usageMetadata` object as decoded, of whatever type.
    Returns:
        None when it tells no counts.
    """
    prompt = first_count(told, "promptTokenCount")
    answer = first_count(told, "candidatesTokenCount")
    thoughts = first_count(told, "thoughtsTokenCount") or 0
    tools = first_count(told, "toolUsePromptTokenCount") or 0
    return usage_of(
        None if prompt is None else prompt + tools,
        None if answer is None and not thoughts else (answer or 0) + thoughts,
        first_count(told, "cachedContentTokenCount") or 0,
    )
