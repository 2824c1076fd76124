"""What a path is for, as the log's `model_type` says it."""

from __future__ import annotations

# The first fragment that stands in the path decides; the longer of two that begin alike comes first.
_BY_FRAGMENT: tuple[tuple[str, str], ...] = (
    ("chat/completions", "chat"),
    ("/completions", "text"),
    ("/responses", "chat"),
    ("/messages", "chat"),
    ("/v1/chat", "chat"),
    ("/v2/chat", "chat"),
    ("generateContent", "chat"),
    ("GenerateContent", "chat"),
    ("/converse", "chat"),
    ("mbedContent", "embeddings"),
    ("/embed", "embeddings"),
    ("/moderations", "moderation"),
    ("/rerank", "rerank"),
    ("/images", "image"),
    ("/audio/speech", "speech"),
    ("/text-to-speech", "speech"),
    ("/tts", "speech"),
    ("/speak", "speech"),
    ("/audio/transcriptions", "transcription"),
    ("/audio/translations", "transcription"),
    ("/speech-to-text", "transcription"),
    ("/listen", "transcription"),
    ("/stt", "transcription"),
)


def model_type(path: str) -> str:
    """
    The kind of model that a path asks.

    Args:
        path: Below the provider, without its query string.
    Returns:
        `chat`, `embeddings` or the like; empty when the path does not tell.
    """
    path = "/" + path.lstrip("/")
    return next((kind for fragment, kind in _BY_FRAGMENT if fragment in path), "")
