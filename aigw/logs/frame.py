"""
How a record lies in a file.

A file begins with a header that names its spool, its number and a random `nonce`. Then come frames:

    marker (2) | head's CRC-32 (4) | payload's CRC-32 (4) | payload length (4) | kind (1) | log id (16) | payload

Both CRCs start from the file's nonce. A prompt may well hold bytes that look like a frame, and after damage the reader
looks for the next frame byte by byte: without the nonce it could be fooled into logging what a client wrote, and
without a CRC of the head alone into checking megabytes at every byte. Zeros are what a preallocated file holds where
nothing was written yet.
"""

from __future__ import annotations

import enum
import struct
from zlib import crc32

import msgspec

from aigw.values.record import Begin, End

MARKER = b"\xa6\x47"
FRAME = struct.Struct("<2sIIIB16s")
FRAME_BYTES = FRAME.size
HEAD_FROM = 6  # what the head's CRC covers begins here
EMPTY_FRAME = bytes(FRAME_BYTES)

MAGIC = b"AIGWLOG1"
FILE_HEADER = struct.Struct("<8s16sQII")
HEADER_BYTES = FILE_HEADER.size

NO_ID = bytes(16)

Record = Begin | End

encoder = msgspec.msgpack.Encoder()
record_decoder: msgspec.msgpack.Decoder[Begin | End] = msgspec.msgpack.Decoder(Begin | End)


class Kind(enum.IntEnum):
    """
    What a frame's payload is.

    Attributes:
        BEGIN: A `Begin`, in msgpack.
        END: An `End`, in msgpack.
        CARRIED: Nothing; all exchanges that were open when the file was begun stand before this frame.
        REFUSED: Quarantine: a reason and the payload of an `End`.
        DAMAGED: Quarantine: a reason and bytes that were no frame.
    """

    BEGIN = 1
    END = 2
    CARRIED = 3
    REFUSED = 4
    DAMAGED = 5


def file_header(spool_id: bytes, number: int, nonce: int) -> bytes:
    """
    The first bytes of a file.

    Args:
        spool_id: 16 bytes.
        number: Of the segment, from 1.
        nonce: 32 random bits.
    """
    head = FILE_HEADER.pack(MAGIC, spool_id, number, nonce, 0)[:-4]
    return head + crc32(head).to_bytes(4, "little")


def read_file_header(head: bytes) -> tuple[bytes, int, int] | None:
    """
    Read back `file_header`.

    Returns:
        Spool id, number and nonce; None when the bytes are no such header.
    """
    if len(head) != HEADER_BYTES:
        return None
    magic, spool_id, number, nonce, checksum = FILE_HEADER.unpack(head)
    if magic != MAGIC or checksum != crc32(head[:-4]):
        return None
    return spool_id, number, nonce


def append_frame(buffer: bytearray, nonce: int, kind: Kind, log_id: bytes, payload: object) -> int:
    """
    Add a frame to the end of a buffer.

    Args:
        buffer: Grows by the frame; is as before when an error is raised.
        nonce: Of the file that the buffer goes to.
        kind, log_id: See there; `NO_ID` where there is none.
        payload: A record, or whatever else msgpack takes.
    Returns:
        Length of the frame.
    Raises:
        UnicodeEncodeError: A text of the record holds a lone surrogate.
    """
    start = len(buffer)
    buffer += EMPTY_FRAME
    try:
        # Encoded in place: a body of megabytes is copied once, into the buffer that write() takes.
        encoder.encode_into(payload, buffer, start + FRAME_BYTES)
    except Exception:
        del buffer[start:]
        raise
    size = len(buffer) - start
    with memoryview(buffer) as view:
        checksum = crc32(view[start + FRAME_BYTES :], nonce)
    FRAME.pack_into(buffer, start, MARKER, 0, checksum, size - FRAME_BYTES, kind, log_id)
    head = crc32(buffer[start + HEAD_FROM : start + FRAME_BYTES], nonce)
    buffer[start + 2 : start + HEAD_FROM] = head.to_bytes(4, "little")
    return size
