"""Reading frames back, through damage, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from zlib import crc32

import attrs
import msgspec

from aigw.logs.frame import FRAME, FRAME_BYTES, HEAD_FROM, HEADER_BYTES, MARKER, read_file_header

WINDOW_BYTES = 512 * 1024

ReadAt = Callable[[int, int], bytes]


class Frame(msgspec.Struct, frozen=True, gc=False):
    """
    One whole frame.

    Attributes:
        kind: A `Kind`, or a number that a later release may know.
        log_id: 16 bytes.
        payload: Still encoded; valid for as long as it is held.
        end: Offset behind the frame.
    """

    kind: int
    log_id: bytes
    payload: memoryview
    end: int


@attrs.frozen
class Gap:
    """Bytes that are no frame and have a frame behind them: from `start` up to `end`."""

    start: int
    end: int


def read_at(fd: int) -> ReadAt:
    """Reads of a file by offset and length; short at the end of the file."""
    return lambda offset, size: os.pread(fd, size, offset)


class SegmentReader:
    """
    Walks the frames of one file.

    Args:
        read: Gives the bytes at an offset.
        nonce: Of the file.
        start: Offset of a frame.
        limit: Nothing from here on is read; not behind the end of the file.

    Attributes:
        at: Behind the last frame or gap that was given.
    """

    def __init__(self, read: ReadAt, nonce: int, start: int, limit: int) -> None:
        self._read = read
        self._nonce = nonce
        self._limit = limit
        self._window = b""
        self._view = memoryview(b"")
        self._base = start
        self.at = start

    def next(self) -> Frame | Gap | None:
        """
        What comes next.

        Returns:
            None at the end: at the limit, or where no further frame is found. `at` then stands behind the last frame;
            what lies between it and the limit is zeros, or a record that was never completely written.
        """
        frame = self._frame_at(self.at)
        if frame is not None:
            self.at = frame.end
            return frame
        found = self._search(self.at + 1)
        if found is None:
            return None
        gap = Gap(self.at, found)
        self.at = found
        return gap

    def _frame_at(self, offset: int) -> Frame | None:
        start = self._find(offset, FRAME_BYTES)
        if start is None:
            return None
        view = self._view
        marker, head_sum, payload_sum, length, kind, log_id = FRAME.unpack_from(view, start)
        if marker != MARKER or crc32(view[start + HEAD_FROM : start + FRAME_BYTES], self._nonce) != head_sum:
            return None
        start = self._find(offset, FRAME_BYTES + length)
        if start is None:
            return None
        payload = self._view[start + FRAME_BYTES : start + FRAME_BYTES + length]
        if crc32(payload, self._nonce) != payload_sum:
            return None
        return Frame(kind, log_id, payload, offset + FRAME_BYTES + length)

    def _search(self, offset: int) -> int | None:
        """Where the next whole frame begins."""
        while offset + FRAME_BYTES <= self._limit:
            # What the window still holds comes first: bytes that only look like a marker cost no new read.
            held = self._base + len(self._window) - offset
            size = min(held if held >= FRAME_BYTES else WINDOW_BYTES, self._limit - offset)
            if self._find(offset, size) is None:
                return None
            found = self._window.find(MARKER, offset - self._base, offset - self._base + size)
            if found < 0:
                offset += size - 1  # the marker may lie across the border of two windows
                continue
            offset = self._base + found
            if self._frame_at(offset) is not None:
                return offset
            offset += 1
        return None

    def _find(self, offset: int, size: int) -> int | None:
        """Where in the window these bytes of the file begin; None when the file or the limit ends before they do."""
        if offset + size > self._limit:
            return None
        start = offset - self._base
        if start < 0 or start + size > len(self._window):
            wanted = min(max(size, WINDOW_BYTES), self._limit - offset)
            self._window, self._base, start = self._read(offset, wanted), offset, 0
            self._view = memoryview(self._window)
            if len(self._window) < size:
                return None
        return start


@attrs.frozen
class SegmentHead:
    """
    What a file says of itself.

    Attributes:
        spool_id: 16 bytes.
        number: From 1.
        nonce: See `aigw.logs.frame`.
    """

    spool_id: bytes
    number: int
    nonce: int


def read_head(fd: int) -> SegmentHead | None:
    """The header of a file; None when it has none (it was being made when the process died, or is damaged)."""
    head = read_file_header(os.pread(fd, HEADER_BYTES, 0))
    return None if head is None else SegmentHead(*head)
