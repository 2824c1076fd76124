"""The secret itself: how a token is spelt, and what is kept of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

# Found by scanners of leaked secrets, and by the providers' room, which lets nothing with this prefix go upstream.
PREFIX = b"aigw_"

# Base 62 has only characters that a WebSocket subprotocol may hold (RFC 6455 section 4.1), where browsers put tokens.
_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BLOCK_BYTES = 32
_BLOCK_DIGITS = 43

TEXT_BYTES = len(PREFIX) + _BLOCK_DIGITS

# A minted token says all about itself, so it is longer; headers and subprotocols hold this much.
MINTED_BLOCKS = 48
MINTED_AT_MOST_S = 86_400
MINTED_ID = re.compile(r"tok_[0-9a-f]{16}\.[0-9a-f]{16}")

_VALUES = {digit: value for value, digit in enumerate(_ALPHABET)}


def new_text(random: Callable[[int], bytes]) -> str:
    """
    A new token.

    Args:
        random: Returns so many unpredictable bytes.
    Returns:
        The prefix and 256 random bits in 43 digits of base 62.
    """
    return text_of(random(BLOCK_BYTES))


def text_of(content: bytes) -> str:
    """
    Bytes spelt as a token: the prefix, and 43 digits of base 62 for every 32 bytes.

    Args:
        content: A whole number of blocks of 32 bytes.
    """
    digits = bytearray(PREFIX)
    for start in range(0, len(content), BLOCK_BYTES):
        number = int.from_bytes(content[start : start + BLOCK_BYTES], "big")
        for _ in range(_BLOCK_DIGITS):
            number, digit = divmod(number, 62)
            digits.append(_ALPHABET[digit])
    return digits.decode("ascii")


def content_of(text: bytes) -> bytes | None:
    """The bytes that `text_of` spelt; None for a text that it did not make. Holds for more than one block only."""
    blocks, rest = divmod(len(text) - len(PREFIX), _BLOCK_DIGITS)
    if rest or not 1 < blocks <= MINTED_BLOCKS or not text.startswith(PREFIX):
        return None
    content = bytearray()
    try:
        for start in range(len(PREFIX), len(text), _BLOCK_DIGITS):
            number = 0
            for digit in reversed(text[start : start + _BLOCK_DIGITS]):
                number = number * 62 + _VALUES[digit]
            content += number.to_bytes(BLOCK_BYTES, "big")
    except (KeyError, OverflowError):
        return None
    return bytes(content)


def digest_of(text: bytes) -> bytes | None:
    """
    What is kept of a token, and what it is looked up by.

    A fast hash is enough: 256 random bits cannot be guessed, so there is nothing for a slow one to protect.

    Returns:
        The SHA-256 of the token; None for a text that cannot be one of ours, so that junk costs no hash. Minted tokens,
        of which nothing is kept, are none of these.
    """
    if len(text) != TEXT_BYTES or not text.startswith(PREFIX):
        return None
    return hashlib.sha256(text).digest()


def parent_of(token_id: str) -> str:
    """The id of the token that minted the one of this id; its own for one that was not minted."""
    return token_id.partition(".")[0]
