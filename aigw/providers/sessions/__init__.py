"""How realtime sessions are read, one wording a file."""

from __future__ import annotations

from typing import Literal

from aigw.providers.sessions.google import GoogleSession
from aigw.providers.sessions.openai import OpenAISession
from aigw.providers.sessions.reader import Heard, SessionReader
from aigw.providers.sessions.speech import CartesiaSession, DeepgramSession, ElevenLabsSession

__all__ = ["Heard", "SessionReader", "Wording", "session_reader"]

Wording = Literal["cartesia", "deepgram", "elevenlabs", "google", "openai", "unknown"]

_READERS: dict[str, type[SessionReader]] = {
    "cartesia": CartesiaSession,
    "deepgram": DeepgramSession,
    "elevenlabs": ElevenLabsSession,
    "google": GoogleSession,
    "openai": OpenAISession,
    "unknown": SessionReader,
}


def session_reader(wording: Wording, query: str = "") -> SessionReader:
    """
    A new reader for one session.

    Args:
        wording: Of the vendor.
        query: Of the address, without its question mark.
    """
    return _READERS[wording](query)
