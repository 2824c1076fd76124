"""
Hugging Face's text generation, in its own form.

https://huggingface.co/docs/inference-providers/tasks/text-generation
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.request import request_text_bytes
from aigw.providers.usage import AnswerReader, first_count, text, tokens_of
from aigw.values.usage import Usage


class _Event(msgspec.Struct, gc=False):
    generated_text: Any = None
    details: Any = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)
_body = msgspec.json.Decoder(_Event | list[_Event])


class HuggingFaceReader(AnswerReader):
    """Reader of `{"token": {"text": ...}}` chunks; the last one repeats the whole text. Input is never counted."""

    family: ClassVar[str] = "huggingface"

    __slots__ = ("_generated",)

    def __init__(self) -> None:
        super().__init__()
        self._generated: int | None = None

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]":
            self.terminal = True
            return
        self.text_bytes += string_bytes(data, b'"text":')
        if b'"generated_text":"' in data or b'"generated_text": "' in data or b'"error":' in data:
            told = peek(_event, data)
            if told is not None:
                self._take(told)
                self.terminal = True

    def body(self, data: bytes) -> None:
        told = peek(_body, data)
        for answer in told if isinstance(told, list) else [told] if told is not None else []:
            self._take(answer)
            self.text_bytes += len(text(answer.generated_text).encode("utf-8", "replace"))
        self.terminal = told is not None or is_document(data)

    def _take(self, told: _Event) -> None:
        self._generated = first_count(told.details, "generated_tokens")
        self._fail(told.error)

    def estimate(self, request_body: bytes) -> Usage | None:
        """As in the base; the output is exact where the vendor counted it."""
        if self._generated is None:
            return super().estimate(request_body)
        self.usage = Usage(tokens_of(request_text_bytes(request_body)), self._generated, estimated=True)
        return self.usage
