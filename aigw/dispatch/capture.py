"""Bytes kept for the log, up to a bound."""

from __future__ import annotations


class Capture:
    """
    Keeps the beginning of a body. Chunks are kept as they came and joined once.

    Args:
        limit_bytes: How much is kept.
    """

    __slots__ = ("_chunks", "_kept", "limit_bytes", "total_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.total_bytes = 0
        self._kept = 0
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """More of the body has come."""
        self.total_bytes += len(chunk)
        room = self.limit_bytes - self._kept
        if room > 0:
            part = chunk if len(chunk) <= room else chunk[:room]
            self._chunks.append(part)
            self._kept += len(part)

    @property
    def cut(self) -> bool:
        """Whether there was more than is kept."""
        return self.total_bytes > self._kept

    def body(self) -> bytes:
        """What was kept."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
