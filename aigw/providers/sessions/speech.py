"""
Vendors of speech, whose sessions have no tokens: ElevenLabs' agents, Deepgram and Cartesia.

https://elevenlabs.io/docs/conversational-ai/api-reference/conversational-ai/websocket
https://developers.deepgram.com/reference/speech-to-text/listen-streaming
https://docs.cartesia.ai/api-reference/tts/websocket
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from aigw.providers.peek import peek, string_at, string_bytes
from aigw.providers.sessions.reader import G711, Heard, SessionReader, Speaker, base64_bytes, pcm_rate
from aigw.providers.usage import member, text


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    event: Any = None
    duration: Any = None
    transcript: Any = None
    text: Any = None
    model_id: Any = None
    output_format: Any = None
    channel: Any = None
    is_final: Any = None
    speech_final: Any = None
    user_transcription_event: Any = None
    agent_response_event: Any = None
    conversation_initiation_metadata_event: Any = None


_event = msgspec.json.Decoder(_Event)


class ElevenLabsSession(SessionReader):
    """Reader of an agent's conversation: each of the agent's responses is a turn."""

    def __init__(self, query: str = "") -> None:
        super().__init__(query)
        self._in_rate = self._out_rate = pcm_rate(16_000)

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, and messages that were typed."""
        sound = string_bytes(payload, b'"user_audio_chunk":')
        if sound:
            self._sound_in(base64_bytes(sound), self._in_rate)
            return None
        event = peek(_event, payload)
        return _said("client", event.text) if event is not None and event.type == "user_message" else None

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: formats, sound and both transcripts."""
        sound = string_bytes(payload, b'"audio_base_64":')
        if sound:
            self._sound_out(base64_bytes(sound), self._out_rate)
            return None
        event = peek(_event, payload)
        if event is None:
            return None
        if event.type == "conversation_initiation_metadata":
            told = event.conversation_initiation_metadata_event
            self._in_rate = _format_rate(member(told, "user_input_audio_format"))
            self._out_rate = _format_rate(member(told, "agent_output_audio_format"))
        elif event.type == "user_transcript":
            return _said("client", member(event.user_transcription_event, "user_transcript"))
        elif event.type == "agent_response":
            return _said("provider", member(event.agent_response_event, "agent_response"), turn=True)
        return None


def _format_rate(name: object) -> float:
    """Bytes in a millisecond of `pcm_16000` or `ulaw_8000`; 0 for what is compressed."""
    kind, _, rate = name.partition("_") if isinstance(name, str) else ("", "", "")
    return pcm_rate(rate) if kind == "pcm" else G711 if kind == "ulaw" else 0.0


class DeepgramSession(SessionReader):
    """Reader of transcription and of speech, at Deepgram and through Workers AI; sound comes in binary messages."""

    def __init__(self, query: str = "") -> None:
        super().__init__(query)
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        encoding = asked.get("encoding", "")
        told = asked.get("channels", "1")
        channels = int(told) if len(told) == 1 and told in "12345678" else 1
        rate = pcm_rate(asked.get("sample_rate")) if encoding == "linear16" else 0.0
        self._rate = G711 * channels if encoding in ("mulaw", "alaw") else rate * channels

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, and texts to be spoken."""
        if binary:
            self._sound_in(len(payload), self._rate)
            return None
        event = peek(_event, payload)
        return _said("client", event.text) if event is not None and event.type == "Speak" else None

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, transcripts, and at the end how long the vendor has listened."""
        if binary:
            self._sound_out(len(payload), self._rate)
            return None
        event = peek(_event, payload)
        if event is None:
            return None
        if event.type == "Metadata" and isinstance(event.duration, (int, float)) and 0 <= event.duration < 1e7:
            self.audio_in_ms = event.duration * 1000.0
        elif event.type == "Results" and event.is_final is True:
            choices = member(event.channel, "alternatives")
            best = choices[0] if isinstance(choices, list) and choices else None
            return _said("client", member(best, "transcript"), turn=event.speech_final is True)
        elif event.type == "TurnInfo" and event.event == "EndOfTurn":
            return _said("client", event.transcript, turn=True)
        elif event.type == "Flushed":
            return Heard(turn=True)
        return None


class CartesiaSession(SessionReader):
    """Reader of speech that is made from text: each context that is done is a turn."""

    def __init__(self, query: str = "") -> None:
        super().__init__(query)
        self._rate = 0.0

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: the model, the format of sound, and the text to be spoken."""
        event = None if binary else peek(_event, payload)
        if event is None:
            return None
        self.model = text(event.model_id) or self.model
        widths = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}
        encoding = member(event.output_format, "encoding")
        if isinstance(encoding, str) and encoding in widths:
            self._rate = pcm_rate(member(event.output_format, "sample_rate"), widths[encoding])
        return _said("client", event.transcript)

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """As in the base: sound, and the end of a context."""
        kind = string_at(payload, b'"type":')
        if kind == b"chunk":
            self._sound_out(base64_bytes(string_bytes(payload, b'"data":')), self._rate)
        return Heard(turn=True) if kind == b"done" else None


def _said(speaker: Speaker, words: object, turn: bool = False) -> Heard | None:
    if isinstance(words, str) and words:
        return Heard(said=((speaker, words),), turn=turn)
    return Heard(turn=True) if turn else None
