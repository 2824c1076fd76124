"""
Gemini's Live API (`BidiGenerateContent`). Google sends its JSON in binary frames.

https://ai.google.dev/api/live
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aigw.providers.peek import peek
from aigw.providers.sessions.reader import TRANSCRIPT_CHARS, Heard, SessionReader, Speaker, base64_bytes, pcm_rate
from aigw.providers.usage import first_count, member, text
from aigw.values.usage import Usage

_RATE = re.compile(r"rate=(\d{4,6})")
_IN_HZ, _OUT_HZ = 16_000, 24_000


class _Blob(msgspec.Struct, gc=False, rename="camel"):
    # Not decoded: most bytes of a session are here.
    data: msgspec.Raw = msgspec.Raw()
    mime_type: str = ""


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] = []


class _Words(msgspec.Struct, gc=False):
    text: str = ""


class _ServerContent(msgspec.Struct, gc=False, rename="camel"):
    model_turn: _Content | None = None
    turn_complete: bool = False
    input_transcription: _Words | None = None
    output_transcription: _Words | None = None


class _Answer(msgspec.Struct, gc=False, rename="camel"):
    server_content: _ServerContent | None = None
    usage_metadata: Any = None


class _Input(msgspec.Struct, gc=False, rename="camel"):
    audio: _Blob | None = None
    media_chunks: list[_Blob] = []
    text: str | None = None


class _Turns(msgspec.Struct, gc=False):
    turns: list[_Content] = []


class _Setup(msgspec.Struct, gc=False):
    model: Any = None


class _Asked(msgspec.Struct, gc=False, rename="camel"):
    setup: _Setup | None = None
    realtime_input: _Input | None = None
    client_content: _Turns | None = None


_answer = msgspec.json.Decoder(_Answer)
_asked = msgspec.json.Decoder(_Asked)


class GoogleSession(SessionReader):
    """Reader of a Live session: usage is told now and then, and the last of a turn counts for it."""

    def __init__(self, query: str = "") -> None:
        super().__init__(query)
        self._told: Any = None
        self._words: dict[Speaker, list[str]] = {"client": [], "provider": []}
        self._chars = 0

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: the model, sound, and texts."""
        asked = peek(_asked, payload)
        if asked is None:
            return None
        if asked.setup is not None:
            self.model = text(asked.setup.model).removeprefix("models/") or self.model
        said = []
        if asked.realtime_input is not None:
            given = asked.realtime_input
            for blob in (*given.media_chunks, *([given.audio] if given.audio is not None else [])):
                if blob.mime_type.startswith("audio/"):
                    self._sound_in(_sound_bytes(blob), _rate(blob, _IN_HZ))
            said.append(given.text)
        for content in asked.client_content.turns if asked.client_content is not None else ():
            said += [part.text for part in content.parts]
        texts: tuple[tuple[Speaker, str], ...] = tuple(("client", words) for words in said if words)
        return Heard(said=texts) if texts else None

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, transcripts, usage and the end of a turn."""
        answer = peek(_answer, payload)
        if answer is None:
            return None
        if answer.usage_metadata is not None:
            self._told = answer.usage_metadata
        content = answer.server_content
        if content is None:
            return None
        for part in content.model_turn.parts if content.model_turn is not None else ():
            if part.inline_data is not None and part.inline_data.mime_type.startswith("audio/"):
                self._sound_out(_sound_bytes(part.inline_data), _rate(part.inline_data, _OUT_HZ))
            if part.text and not part.thought:
                self._say("provider", part.text)
        if content.input_transcription is not None:
            self._say("client", content.input_transcription.text)
        if content.output_transcription is not None:
            self._say("provider", content.output_transcription.text)
        if content.turn_complete:
            return Heard(said=self._said(), usage=self._usage(), turn=True)
        return Heard(said=self._said()) if self._chars > TRANSCRIPT_CHARS else None

    def end(self) -> Heard | None:
        """As in the base: a turn that was cut off is charged, too."""
        return Heard(said=self._said(), usage=self._usage())

    def _say(self, speaker: Speaker, words: str) -> None:
        if words:
            self._words[speaker].append(words)
            self._chars += len(words)

    def _said(self) -> tuple[tuple[Speaker, str], ...]:
        said: tuple[tuple[Speaker, str], ...] = tuple(
            (speaker, "".join(words)) for speaker, words in self._words.items() if words
        )
        self._words = {"client": [], "provider": []}
        self._chars = 0
        return said

    def _usage(self) -> Usage | None:
        told, self._told = self._told, None
        return live_usage(told)


def _sound_bytes(blob: _Blob) -> float:
    return base64_bytes(max(0, len(bytes(blob.data)) - 2))


def _rate(blob: _Blob, usual_hz: int) -> float:
    found = _RATE.search(blob.mime_type)
    return pcm_rate(int(found[1]) if found else usual_hz)


def live_usage(told: object) -> Usage | None:
    """
    A usage in the wording of the Live API. Thoughts and the prompts of tools are counted apart there.

    Args:
        told: The `usageMetadata` object as decoded, of whatever type.
    Returns:
        None when it tells no counts. Parts never exceed the whole.
    """
    prompt, answer = first_count(told, "promptTokenCount"), first_count(told, "responseTokenCount")
    if prompt is None and answer is None:
        return None
    whole_in = (prompt or 0) + (first_count(told, "toolUsePromptTokenCount") or 0)
    whole_out = (answer or 0) + (first_count(told, "thoughtsTokenCount") or 0)
    cached = min(first_count(told, "cachedContentTokenCount") or 0, whole_in)
    audio_in = min(_sound(told, "promptTokensDetails"), whole_in)
    return Usage(
        tokens_in=whole_in,
        tokens_out=whole_out,
        cache_read=cached,
        audio_in=audio_in,
        audio_out=min(_sound(told, "responseTokensDetails"), whole_out),
        audio_cache_read=min(_sound(told, "cacheTokensDetails"), cached, audio_in),
    )


def _sound(told: object, name: str) -> int:
    details = member(told, name)
    rows = details if isinstance(details, list) else []
    return sum(first_count(row, "tokenCount") or 0 for row in rows if member(row, "modality") == "AUDIO")
