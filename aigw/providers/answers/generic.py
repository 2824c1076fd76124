"""Answers of vendors (or paths) without a family of their own: pictures, voices, searches, predictions."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.answers.openai_chat import openai_usage
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.usage import AnswerReader, first_count, text, usage_of

# A stream that has shown an open finish reason promises a closed one.
_OPEN = re.compile(rb'"finish_reason": ?null')
_FINISHED = re.compile(rb'"finish_reason": ?"[^"]')


class _Answer(msgspec.Struct, gc=False):
    model: Any = None
    usage: Any = None
    error: Any = None
    # Replicate.
    metrics: Any = None


_answer = msgspec.json.Decoder(_Answer)


class GenericReader(AnswerReader):
    """
    Reader that takes what looks familiar.

    The end is left to the framing, unless the stream turns out to be worded like OpenAI's: then `[DONE]` or a finish
    reason must come.
    """

    family: ClassVar[str] = "generic"

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.terminal = True

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]" or _FINISHED.search(data):
            self.terminal = True
        elif _OPEN.search(data):
            self.terminal = False
        if b'_tokens"' in data or b'"error":' in data or event.name == b"error":
            self._decode(data)
        self.text_bytes += string_bytes(data, b'"content":')

    def body(self, data: bytes) -> None:
        # What is no JSON, a sound or a picture, has no other end than its framing.
        self.terminal = self._decode(data) or data.lstrip()[:1] not in (b"{", b"[") or is_document(data)

    def _decode(self, data: bytes) -> bool:
        told = peek(_answer, data)
        if told is None:
            return False
        self.model = text(told.model) or self.model
        metrics = usage_of(
            first_count(told.metrics, "input_token_count"),
            first_count(told.metrics, "output_token_count"),
        )
        self.usage = openai_usage(told.usage) or metrics or self.usage
        self._fail(told.error)
        return True
