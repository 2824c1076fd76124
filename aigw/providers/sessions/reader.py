"""Reading along in realtime sessions: what every vendor's reader shares."""

from __future__ import annotations

from typing import Literal

import attrs

from aigw.values.usage import Usage

Speaker = Literal["client", "provider"]

# A transcript that grows by pieces is told at the latest when it is as long as this.
TRANSCRIPT_CHARS = 16_384

# Bytes of sound in a millisecond: 16 bits a sample at 24 kHz, and telephone sound.
PCM16_24KHZ = 48.0
G711 = 8.0


@attrs.frozen
class Heard:
    """
    What one message told.

    Attributes:
        said: Who said what, as text.
        usage: Tokens that the vendor charges, told once for each turn.
        turn: Whether an answer of the provider ended.
    """

    said: tuple[tuple[Speaker, str], ...] = ()
    usage: Usage | None = None
    turn: bool = False


class SessionReader:
    """
    Reads one session as it passes. This one knows no wording: it hears nothing.

    Nothing that either side sends makes it raise; what cannot be understood is passed over.

    Args:
        query: Of the address, without its question mark; some vendors tell there how sound is coded.
    Attributes:
        model: As either side names it, empty until then.
        audio_in_ms, audio_out_ms: Sound from the client and from the provider; None where its length is not known.
    """

    def __init__(self, query: str = "") -> None:
        self.model = ""
        self.audio_in_ms: float | None = None
        self.audio_out_ms: float | None = None

    def client(self, payload: bytes, binary: bool) -> Heard | None:
        """A message from the client; None when it told nothing."""
        return None

    def provider(self, payload: bytes, binary: bool) -> Heard | None:
        """A message from the provider; None when it told nothing."""
        return None

    def end(self) -> Heard | None:
        """The session is over: what was not told yet."""
        return None

    def _sound_in(self, sound_bytes: float, bytes_per_ms: float) -> None:
        if bytes_per_ms:
            self.audio_in_ms = (self.audio_in_ms or 0.0) + sound_bytes / bytes_per_ms

    def _sound_out(self, sound_bytes: float, bytes_per_ms: float) -> None:
        if bytes_per_ms:
            self.audio_out_ms = (self.audio_out_ms or 0.0) + sound_bytes / bytes_per_ms


def base64_bytes(length: int) -> float:
    """Bytes that so many characters of base64 stand for, nearly."""
    return length * 0.75


def pcm_rate(sample_rate: object, sample_bytes: int = 2) -> float:
    """Bytes in a millisecond at a sampling rate as a vendor writes it; 0 for one that makes no sense."""
    if isinstance(sample_rate, str) and sample_rate.isascii() and sample_rate.isdigit():
        sample_rate = int(sample_rate[:9])
    if isinstance(sample_rate, int) and not isinstance(sample_rate, bool) and 1_000 <= sample_rate <= 384_000:
        return sample_rate * sample_bytes / 1000
    return 0.0
