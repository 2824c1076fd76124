"""Log ids: UUIDv7, made here, never twice, in the order of their making."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

# A wall clock that was set back by more than this is believed; a smaller step is waited out, so that ids stay ordered.
REANCHOR_MS = 10_000


class LogIds:
    """
    Makes UUIDv7 ids that only grow within a process.

    Args:
        utc_ms: Milliseconds since the epoch, from the wall clock.
        random: Returns so many random bytes.
    """

    def __init__(self, utc_ms: Callable[[], int], random: Callable[[int], bytes] = os.urandom) -> None:
        self._utc_ms = utc_ms
        self._random = random
        self._last_ms = 0
        # 12 bits of rand_a count within one millisecond, as RFC 9562 section 6.2 allows.
        self._counter = 0
        self._pool = b""
        self._at = 0

    def next(self) -> bytes:
        """
        A new id.

        Returns:
            The 16 bytes of a UUIDv7.
        """
        now = self._utc_ms()
        if now > self._last_ms or now < self._last_ms - REANCHOR_MS:
            self._last_ms = now
            self._counter = 0
        elif self._counter == 0xFFF:
            self._last_ms += 1
            self._counter = 0
        else:
            self._counter += 1
        if self._at + 8 > len(self._pool):
            self._pool = self._random(1024)
            self._at = 0
        tail = int.from_bytes(self._pool[self._at : self._at + 8], "big") & 0x3FFF_FFFF_FFFF_FFFF
        self._at += 8
        value = self._last_ms << 80 | (0x7000 | self._counter) << 64 | 0x8000_0000_0000_0000 | tail
        return value.to_bytes(16, "big")


def id_text(log_id: bytes) -> str:
    """The id in its usual spelling, lower case with hyphens."""
    h = log_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_ms(log_id: bytes) -> int:
    """When the id was made, in milliseconds since the epoch."""
    return int.from_bytes(log_id[:6], "big")


def parse_id(text: str) -> bytes | None:
    """The bytes of an id as a user typed it; None when it is no UUID."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None
