"""What an answer used, and money."""

from __future__ import annotations

import msgspec

NANOUSD_PER_USD = 1_000_000_000


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    Tokens of one answer, or of a whole realtime session.

    Attributes:
        tokens_in: All input tokens, cached ones included, whatever the vendor's own counting.
        tokens_out: All output tokens, reasoning included.
        cache_read: The part of `tokens_in` that the vendor read from its prompt cache.
        cache_write: The part of `tokens_in` that the vendor wrote to its prompt cache.
        cache_write_1h: The part of `cache_write` that the vendor keeps for an hour, at a price of its own.
        estimated: True when the vendor told nothing and the numbers are a guess from the bytes.
        audio_in: The part of `tokens_in` that is sound.
        audio_out: The part of `tokens_out` that is sound.
        audio_cache_read: The part of `cache_read` that is sound; it is counted in `audio_in`, too.
    """

    tokens_in: int
    tokens_out: int
    cache_read: int = 0
    cache_write: int = 0
    estimated: bool = False
    cache_write_1h: int = 0
    audio_in: int = 0
    audio_out: int = 0
    audio_cache_read: int = 0


def add_usage(one: Usage | None, other: Usage) -> Usage:
    """The usage of two answers together; a guess in either makes the sum a guess."""
    if one is None:
        return other
    return Usage(
        tokens_in=one.tokens_in + other.tokens_in,
        tokens_out=one.tokens_out + other.tokens_out,
        cache_read=one.cache_read + other.cache_read,
        cache_write=one.cache_write + other.cache_write,
        estimated=one.estimated or other.estimated,
        cache_write_1h=one.cache_write_1h + other.cache_write_1h,
        audio_in=one.audio_in + other.audio_in,
        audio_out=one.audio_out + other.audio_out,
        audio_cache_read=one.audio_cache_read + other.audio_cache_read,
    )
