"""
OpenAI's Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.answers.openai_chat import openai_usage
from aigw.providers.peek import is_document, peek, string_at, string_bytes
from aigw.providers.usage import AnswerReader, text

_ENDS = (b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled")


class _Response(msgspec.Struct, gc=False):
    model: Any = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    response: _Response | None = None
    error: Any = None
    message: Any = None


_event = msgspec.json.Decoder(_Event)
_response = msgspec.json.Decoder(_Response)


class OpenAIResponsesReader(AnswerReader):
    """Reader of responses: the usage comes with the event that ends the stream, inside the whole response."""

    family: ClassVar[str] = "openai-responses"

    __slots__ = ()

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]":
            self.terminal = True
            return
        name = event.name or string_at(data, b'"type":')
        if name.endswith(b".delta"):
            self.text_bytes += string_bytes(data, b'"delta":')
        elif name in _ENDS or name == b"error" or (name.startswith(b"response.") and not self.model):
            self._decode(name, data)

    def _decode(self, name: bytes, data: bytes) -> None:
        told = peek(_event, data)
        if told is None:
            return
        if told.response is not None:
            self._take(told.response)
        if name == b"error":
            self._fail(told.error or told.message or "error")
        elif name in _ENDS:
            self.terminal = True

    def body(self, data: bytes) -> None:
        told = peek(_response, data)
        if told is not None:
            self._take(told)
        self.terminal = told is not None or is_document(data)

    def _take(self, response: _Response) -> None:
        self.model = text(response.model) or self.model
        self.usage = openai_usage(response.usage) or self.usage
        self._fail(response.error)
