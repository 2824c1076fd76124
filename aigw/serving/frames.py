"""The frames of RFC 6455 that nearly all messages are: whole in one read, unfragmented, of ordinary length."""

from __future__ import annotations

from autobahn.websocket.xormasker import create_xor_masker

_TEXT, _BINARY = 0x81, 0x82
_MASKED = 0x80
_LENGTH = 0x7F
_TWO_BYTES = 126
# Up to here integers unmask faster than setting up a masker takes.
_SHORT_BYTES = 1_024


def whole_message(data: bytes, at: int, most_bytes: int) -> tuple[bytes, bool, int] | None:
    """
    A client's message that begins and ends within what was read.

    Args:
        data: As it was read.
        at: Where a frame begins.
        most_bytes: Length that a message may have.
    Returns:
        The payload, whether it is binary, and where the next frame begins; None for anything out of the ordinary, which
        is for a complete parser: control frames, fragments, breaches of the protocol, and what has not come yet.
    """
    end = len(data)
    if end - at < 6:
        return None
    first, second = data[at], data[at + 1]
    if (first != _TEXT and first != _BINARY) or second < _MASKED:
        return None
    length = second & _LENGTH
    key_at = at + 2
    if length == _TWO_BYTES:
        key_at = at + 4
        length = data[at + 2] << 8 | data[at + 3]
        if length < _TWO_BYTES:
            return None
    elif length > _TWO_BYTES:
        return None
    begin = key_at + 4
    stop = begin + length
    if stop > end or length > most_bytes:
        return None
    return _unmasked(data[begin:stop], data[key_at:begin]), first == _BINARY, stop


def _unmasked(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    if length > _SHORT_BYTES:
        return bytes(create_xor_masker(key, length).process(payload))
    mask = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")


def text_frame(message: bytes) -> bytes:
    """One unfragmented text frame of a server."""
    length = len(message)
    if length < 126:
        return b"\x81%c%b" % (length, message)
    if length < 65_536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), message)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), message)
