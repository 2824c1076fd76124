"""What an answer used, and money."""

from __future__ import annotations

import msgspec

NANOUSD_PER_USD = 1_000_000_000


class Usage(msgspec.Struct, frozen=True):
    """
    Tokens of one answer.

    Attributes:
        tokens_in: All input tokens, cached ones included, whatever the vendor's own counting.
        tokens_out: All output tokens, reasoning included.
        cache_read: The part of `tokens_in` that the vendor read from its prompt cache.
        cache_write: The part of `tokens_in` that the vendor wrote to its prompt cache.
        cache_write_1h: The part of `cache_write` that the vendor keeps for an hour, at a price of its own.
        estimated: True when the vendor told nothing and the numbers are a guess from the bytes.
    """

    tokens_in: int
    tokens_out: int
    cache_read: int = 0
    cache_write: int = 0
    estimated: bool = False
    cache_write_1h: int = 0
