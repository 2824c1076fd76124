"""
OpenAI's chat completions, completions and embeddings, and everybody who words answers like them.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from aigw.codecs.sse import Event
from aigw.providers.peek import is_document, peek, string_bytes
from aigw.providers.usage import AnswerReader, count, first_count, member, text, usage_of
from aigw.values.usage import Usage

# Some servers (Ollama among them) write "" where others write null.
_FINISHED = re.compile(rb'"finish_reason": ?"[^"]')
_TEXTS = (b'"content":', b'"reasoning_content":', b'"reasoning":', b'"arguments":', b'"text":')


class _Answer(msgspec.Struct, gc=False):
    model: Any = None
    usage: Any = None
    error: Any = None
    # Groq tells the usage of a stream here when nobody asked for it.
    x_groq: Any = None


_answer = msgspec.json.Decoder(_Answer)


class OpenAIChatReader(AnswerReader):
    """
    Reader of chat completions.

    Args:
        done_mark: Whether only `[DONE]` ends a stream; else a finish reason does, too.
    """

    family: ClassVar[str] = "openai-chat"

    __slots__ = ("_done_mark",)

    def __init__(self, done_mark: bool = True) -> None:
        super().__init__()
        self._done_mark = done_mark

    def event(self, event: Event) -> None:
        data = event.data
        if data == b"[DONE]":
            self.terminal = True
            return
        # Most chunks are a few letters of text: only the first, and those that tell usage or an error, are decoded.
        if not self.model or b'_tokens"' in data or b'"error":' in data or event.name == b"error":
            self._decode(data, event.name == b"error")
        self.text_bytes += string_bytes(data, *_TEXTS)
        if not self._done_mark and not self.terminal and _FINISHED.search(data):
            self.terminal = True

    def body(self, data: bytes) -> None:
        self.terminal = is_document(data) if not self._decode(data, False) else True
        if self.usage is None and not self.error:
            self.text_bytes = string_bytes(data, *_TEXTS)

    def _decode(self, data: bytes, is_error: bool) -> bool:
        answer = peek(_answer, data)
        if answer is None:
            if is_error:
                self._fail(data.decode("utf-8", "replace"))
            return False
        self.model = self.model or text(answer.model)
        told = openai_usage(answer.usage)
        if told is None and answer.x_groq is not None:
            told = openai_usage(member(answer.x_groq, "usage"))
        self.usage = told or self.usage
        if is_error and not answer.error:
            self._fail(data.decode("utf-8", "replace"))
        else:
            self._fail(answer.error)
        return True


def openai_usage(told: object) -> Usage | None:
    """
    A usage in OpenAI's wording: `prompt_tokens` or `input_tokens`, cached ones included.

    Args:
        told: The `usage` object as decoded, of whatever type.
    Returns:
        None when it tells no counts.
    """
    if not isinstance(told, dict):
        return None
    tokens_in = first_count(told, "prompt_tokens", "input_tokens")
    tokens_out = first_count(told, "completion_tokens", "output_tokens")
    details = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    cached = first_count(details, "cached_tokens", "cache_read_input_tokens") if details else None
    if cached is None:
        # DeepSeek, Moonshot and xAI's older API.
        cached = first_count(told, "prompt_cache_hit_tokens", "cached_tokens", "cached_prompt_text_tokens")
    return usage_of(
        tokens_in,
        _with_hidden(told, tokens_in, tokens_out),
        cached or 0,
        (first_count(details, "cache_write_tokens") or 0) if details else 0,
    )


def _with_hidden(told: dict[str, Any], tokens_in: int | None, tokens_out: int | None) -> int | None:
    """
    The output with those tokens that some vendors charge for and leave out of `completion_tokens`.

    xAI and Gemini's OpenAI form count thoughts in the total only; Perplexity lists reasoning and citations beside it.
    """
    if tokens_out is None:
        return None
    beside = (count(told.get("reasoning_tokens")) or 0) + (count(told.get("citation_tokens")) or 0)
    total = count(told.get("total_tokens"))
    return max(tokens_out + beside, total - (tokens_in or 0) if total is not None else 0)
