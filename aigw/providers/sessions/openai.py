"""
OpenAI's Realtime API, in its first and its present wording.

https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from typing import Any

import msgspec

from aigw.providers.peek import peek, string_at, string_bytes
from aigw.providers.sessions.reader import G711, PCM16_24KHZ, Heard, SessionReader, base64_bytes, pcm_rate
from aigw.providers.usage import first_count, member, text
from aigw.values.usage import Usage

_SESSION = (b"session.created", b"session.updated")
_SOUND = (b"response.output_audio.delta", b"response.audio.delta")
_SPOKEN = (b"response.output_audio_transcript.done", b"response.audio_transcript.done")
_WRITTEN = (b"response.output_text.done", b"response.text.done")
_UNDERSTOOD = b"conversation.item.input_audio_transcription.completed"
_DONE = b"response.done"


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    session: Any = None
    response: Any = None
    item: Any = None
    transcript: Any = None
    text: Any = None


_event = msgspec.json.Decoder(_Event)


class OpenAISession(SessionReader):
    """Reader of realtime events: each response tells its usage when it is done."""

    def __init__(self, query: str = "") -> None:
        super().__init__(query)
        self._in_rate = self._out_rate = PCM16_24KHZ

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, and texts that were typed."""
        kind = string_at(payload, b'"type":')
        if kind == b"input_audio_buffer.append":
            self._sound_in(base64_bytes(string_bytes(payload, b'"audio":')), self._in_rate)
        elif b'"conversation.item.create"' in payload:
            event = peek(_event, payload)
            return _typed(event.item) if event is not None else None
        return None

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: formats, sound, transcripts and usage."""
        kind = string_at(payload, b'"type":')
        if kind in _SOUND:
            self._sound_out(base64_bytes(string_bytes(payload, b'"delta":')), self._out_rate)
            return None
        # The order of keys is nobody's promise, and this event is the bill.
        if kind == _DONE or b'"response.done"' in payload:
            return self._done(peek(_event, payload))
        if kind in _SESSION:
            event = peek(_event, payload)
            self._session(event.session if event is not None else None)
        elif kind in _SPOKEN or kind in _WRITTEN or kind == _UNDERSTOOD:
            return _transcript(kind, peek(_event, payload))
        return None

    def _session(self, session: object) -> None:
        self.model = text(member(session, "model")) or self.model
        audio = member(session, "audio")
        self._in_rate = _rate(
            member(session, "input_audio_format") or member(member(audio, "input"), "format"), self._in_rate
        )
        self._out_rate = _rate(
            member(session, "output_audio_format") or member(member(audio, "output"), "format"), self._out_rate
        )

    def _done(self, event: _Event | None) -> Heard | None:
        if event is None or event.type != "response.done":
            return None
        return Heard(usage=realtime_usage(member(event.response, "usage")), turn=True)


def _rate(told: object, before: float) -> float:
    """Bytes of sound in a millisecond, out of a format in either wording."""
    name = member(told, "type") if isinstance(told, dict) else told
    if not isinstance(name, str):
        return before
    if "g711" in name or "pcmu" in name or "pcma" in name:
        return G711
    return pcm_rate(member(told, "rate")) or PCM16_24KHZ


def _typed(item: object) -> Heard | None:
    """The texts of an item that the client put into the conversation."""
    content = member(item, "content")
    parts = content if isinstance(content, list) else []
    said = tuple(("client", part["text"]) for part in parts if isinstance(member(part, "text"), str))
    return Heard(said=said) if said else None  # type: ignore[arg-type]  # mypy widens the literal


def _transcript(kind: bytes, event: _Event | None) -> Heard | None:
    words = None if event is None else event.text if kind in _WRITTEN else event.transcript
    if not isinstance(words, str) or not words:
        return None
    return Heard(said=(("client" if kind == _UNDERSTOOD else "provider", words),))


def realtime_usage(told: object) -> Usage | None:
    """
    The usage of one response.

    Args:
        told: The `usage` object as decoded, of whatever type.
    Returns:
        None when it tells no counts. Parts never exceed the whole.
    """
    tokens_in, tokens_out = first_count(told, "input_tokens"), first_count(told, "output_tokens")
    if tokens_in is None and tokens_out is None:
        return None
    given, made = member(told, "input_token_details"), member(told, "output_token_details")
    whole_in, whole_out = tokens_in or 0, tokens_out or 0
    audio_in = min(first_count(given, "audio_tokens") or 0, whole_in)
    cached = min(first_count(given, "cached_tokens") or 0, whole_in)
    cached_sound = first_count(member(given, "cached_tokens_details"), "audio_tokens") or 0
    return Usage(
        tokens_in=whole_in,
        tokens_out=whole_out,
        cache_read=cached,
        audio_in=audio_in,
        audio_out=min(first_count(made, "audio_tokens") or 0, whole_out),
        audio_cache_read=min(cached_sound, cached, audio_in),
    )
