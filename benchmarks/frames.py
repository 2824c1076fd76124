"""WebSocket frames, no more than a load driver needs: a full library would cost it more than the gateway is given."""

from __future__ import annotations

import os

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_FIN = 0x80
_MASKED = 0x80


def masked(opcode: int, payload: bytes) -> bytes:
    """A whole message of a client in one frame."""
    length = len(payload)
    key = os.urandom(4)
    repeated = (key * (length // 4 + 1))[:length]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
    if length < 126:
        head = bytes((_FIN | opcode, _MASKED | length))
    elif length < 65_536:
        head = bytes((_FIN | opcode, _MASKED | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + length.to_bytes(8, "big")
    return head + key + body


def read(data: bytes, at: int) -> tuple[int, int, int] | None:
    """
    The frame of a server that begins at an offset.

    Returns:
        Opcode, start and end of its payload; None while it is not complete.
    Raises:
        ValueError: It is part of a longer message, or masked; the gateway sends neither.
    """
    if len(data) < at + 2:
        return None
    first, length = data[at], data[at + 1]
    if not first & _FIN or length & _MASKED:
        raise ValueError(f"unexpected frame {data[at : at + 2].hex()}")
    start = at + 2
    if length >= 126:
        width = 2 if length == 126 else 8
        if len(data) < start + width:
            return None
        length = int.from_bytes(data[start : start + width], "big")
        start += width
    if len(data) < start + length:
        return None
    return first & 0x0F, start, start + length
