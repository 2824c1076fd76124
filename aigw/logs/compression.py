"""Bodies as they are stored: zstd frames, made and read in pieces that do not hold up the reactor."""

from __future__ import annotations

from collections.abc import Generator

import zstandard

LEVEL = 3
# About a millisecond of work.
PIECE_BYTES = 256 * 1024

_compressor = zstandard.ZstdCompressor(level=LEVEL)


def compress(body: bytes) -> bytes:
    """Compress a body of up to `PIECE_BYTES`, at once."""
    return _compressor.compress(body)


def compressed(body: bytes) -> Generator[None, None, bytes]:
    """
    Compress a body.

    Args:
        body: Of any length, better a long one.
    Yields:
        Between two pieces of work.
    Returns:
        The frame.
    """
    worker = _compressor.compressobj(size=len(body))
    parts = []
    for start in range(0, len(body), PIECE_BYTES):
        parts.append(worker.compress(body[start : start + PIECE_BYTES]))
        yield
    parts.append(worker.flush())
    return b"".join(parts)


def decompressed(frame: bytes, limit_bytes: int) -> tuple[bytes, bool]:
    """
    Read a stored body, or its beginning.

    Args:
        frame: As `compressed` made it.
        limit_bytes: No more than this is unpacked.
    Returns:
        The body, and whether it is the whole of what is stored.
    Raises:
        zstandard.ZstdError: The frame is damaged.
    """
    with zstandard.ZstdDecompressor().stream_reader(frame) as reader:
        data = reader.read(limit_bytes + 1)
    return data[:limit_bytes], len(data) <= limit_bytes
