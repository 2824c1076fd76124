"""
Workers AI's own form of text generation.

https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/ has the other one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.answers.openai_chat import openai_usage
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.usage import AnswerReader, member, text


class _Answer(msgspec.Struct, gc=False):
    model: Any = None
    usage: Any = None
    result: Any = None
    errors: Any = None


_answer = msgspec.json.Decoder(_Answer)


class WorkersAIReader(AnswerReader):
    """Reader of `{"response": ...}` chunks, and of bodies wrapped in `result`. The path names the model."""

    family: ClassVar[str] = "workers-ai"

    __slots__ = ()

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]":
            self.terminal = True
            return
        self.text_bytes += string_bytes(data, b'"response":', b'"content":')
        if b'_tokens"' in data or b'"errors":' in data:
            self._decode(data)

    def body(self, data: bytes) -> None:
        self.terminal = self._decode(data) or is_document(data)

    def _decode(self, data: bytes) -> bool:
        told = peek(_answer, data)
        if told is None:
            return False
        self.model = text(told.model) or text(member(told.result, "model")) or self.model
        self.usage = openai_usage(told.usage) or openai_usage(member(told.result, "usage")) or self.usage
        if isinstance(told.errors, list) and told.errors:
            self._fail(told.errors[0])
        return True
