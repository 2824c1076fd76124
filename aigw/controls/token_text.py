"""The secret itself: how a token is spelt, and what is kept of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

# Found by scanners of leaked secrets, and by the providers' room, which lets nothing with this prefix go upstream.
PREFIX = b"aigw_"

# Base 62 has only characters that a WebSocket subprotocol may hold (RFC 6455 section 4.1), where browsers put tokens.
_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES = 32
_SECRET_DIGITS = 43

TEXT_BYTES = len(PREFIX) + _SECRET_DIGITS


def new_text(random: Callable[[int], bytes]) -> str:
    """
    A new token.

    Args:
        random: Returns so many unpredictable bytes.
    Returns:
        The prefix and 256 random bits in 43 digits of base 62.
    """
    number = int.from_bytes(random(_SECRET_BYTES), "big")
    digits = bytearray()
    for _ in range(_SECRET_DIGITS):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return (PREFIX + bytes(digits)).decode("ascii")


def digest_of(text: bytes) -> bytes | None:
    """
    What is kept of a token, and what it is looked up by.

    A fast hash is enough: 256 random bits cannot be guessed, so there is nothing for a slow one to protect.

    Returns:
        The SHA-256 of the token; None for a text that cannot be one of ours, so that junk costs no hash.
    """
    if len(text) != TEXT_BYTES or not text.startswith(PREFIX):
        return None
    return hashlib.sha256(text).digest()
