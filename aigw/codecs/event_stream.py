"""
`application/vnd.amazon.eventstream`: messages with lengths and checksums.

https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream

A message is a prelude (total length, length of the headers, CRC-32 of both), headers, payload, and a CRC-32 of all of
it; every number is big-endian.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from aigw.errors import InvalidAnswer, ResponseTooLarge, TruncatedStream

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
# Prelude and final checksum: a message of nothing else is the shortest.
_FRAME_BYTES = _PRELUDE.size + _CRC.size
# What AWS allows in a message.
_HEADERS_BYTES = 131_072
# Bytes of a header's value by its type; text and bytes (6 and 7) tell their own length.
_FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_COUNTED = (6, 7)


class Message(msgspec.Struct, frozen=True, gc=False):
    """
    One message.

    Attributes:
        headers: By name, such as `b":event-type"`; only those whose value is text or bytes.
        payload: As it came.
    """

    headers: dict[bytes, bytes]
    payload: bytes


class EventStreamParser:
    """
    Cuts a stream into messages, wherever its chunks happen to be split.

    Args:
        max_message_bytes: Most bytes of one message.
    """

    __slots__ = ("_buffer", "_max", "_wanted")

    def __init__(self, max_message_bytes: int) -> None:
        self._max = max_message_bytes
        self._buffer = bytearray()
        # Bytes that the buffer must hold before there is anything to do: a prelude, then its whole message.
        self._wanted = _PRELUDE.size

    def feed(self, chunk: bytes) -> list[Message]:
        """
        Take the next bytes of the stream.

        Args:
            chunk: Of any length.
        Returns:
            The messages that these bytes completed, in order.
        Raises:
            InvalidAnswer: A checksum or a length is wrong. The parser is then of no more use.
            ResponseTooLarge: A message announces more than `max_message_bytes`.
        """
        buffer = self._buffer
        buffer += chunk
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= self._wanted:
            if self._wanted == _PRELUDE.size:
                self._wanted = self._message_bytes(buffer, start)
                continue
            end = start + self._wanted
            messages.append(_message(bytes(buffer[start:end])))
            start = end
            self._wanted = _PRELUDE.size
        # Once for all messages of a chunk: each removal moves what is left.
        del buffer[:start]
        return messages

    def end(self) -> None:
        """
        The stream is over.

        Raises:
            TruncatedStream: In the middle of a message.
        """
        if self._buffer:
            raise TruncatedStream

    def _message_bytes(self, buffer: bytearray, start: int) -> int:
        """The length of the message that begins with a prelude."""
        total, headers, checksum = _PRELUDE.unpack_from(buffer, start)
        if crc32(buffer[start : start + 8]) != checksum:
            raise InvalidAnswer("a message of its event stream has a wrong checksum")
        if headers > _HEADERS_BYTES or total < headers + _FRAME_BYTES:
            raise InvalidAnswer("a message of its event stream has an impossible length")
        if total > self._max:
            raise ResponseTooLarge
        return int(total)


def _message(frame: bytes) -> Message:
    """Read one whole message whose prelude is known to be good."""
    (checksum,) = _CRC.unpack_from(frame, len(frame) - _CRC.size)
    if crc32(memoryview(frame)[: -_CRC.size]) != checksum:
        raise InvalidAnswer("a message of its event stream has a wrong checksum")
    (headers_bytes,) = _CRC.unpack_from(frame, 4)
    end = _PRELUDE.size + headers_bytes
    return Message(_headers(frame[_PRELUDE.size : end]), frame[end : -_CRC.size])


def _headers(block: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name, kind = block[at + 1 : name_end], block[name_end]
            at = name_end + 1
            if kind in _COUNTED:
                (length,) = _LENGTH.unpack_from(block, at)
                at += _LENGTH.size
                headers[name] = block[at : at + length]
            else:
                length = _FIXED_BYTES[kind]
            at += length
    except (IndexError, KeyError, struct.error):
        at = -1
    if at != len(block):
        raise InvalidAnswer("a message of its event stream has malformed headers")
    return headers
