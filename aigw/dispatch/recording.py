"""An answer that passes by, kept for the cache."""

from __future__ import annotations

from aigw.dispatch.flight import Memory


class Recording:
    """
    The bytes of one answer, as long as there is room for them.

    Args:
        memory: The room, which it shares with all answers that are kept or shared.
    """

    __slots__ = ("_bytes", "_chunks", "_memory", "whole")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._chunks: list[bytes] = []
        self._bytes = 0
        self.whole = True

    def add(self, chunk: bytes) -> None:
        """More of the answer."""
        if not self.whole:
            return
        memory = self._memory
        size = len(chunk)
        if self._bytes + size > memory.flight_bytes or memory.held_bytes + size > memory.total_bytes:
            self.whole = False
            self.close()
            return
        self._chunks.append(chunk)
        self._bytes += size
        memory.held_bytes += size

    def body(self) -> bytes:
        """All of it, if it is `whole`."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def close(self) -> None:
        """Give the room back; may be called again."""
        self._memory.held_bytes -= self._bytes
        self._bytes = 0
        self._chunks.clear()
