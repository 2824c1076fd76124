"""A spool as the shipper sees it: a stream of records from where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
import msgspec

from aigw.logs.directory import SpoolDirectory
from aigw.logs.frame import HEADER_BYTES, Kind, record_decoder
from aigw.logs.position import Position
from aigw.logs.reader import Frame, Gap, SegmentReader, read_at, read_head
from aigw.logs.volume import ZEROS
from aigw.values.record import End


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    One record to ship.

    Attributes:
        record: Decoded.
        payload: As it stands in the spool, for the quarantine.
        end: Behind it.
    """

    record: End
    payload: memoryview
    end: Position


@attrs.frozen
class Damage:
    """
    Bytes that should have been a record.

    Attributes:
        data: As they lie there.
        end: Behind them.
    """

    data: bytes
    end: Position


@attrs.define
class Chunk:
    """
    What one read gave.

    Attributes:
        entries, damaged: In the order of their writing.
        end: Where the next read begins.
        more: Whether the read stopped at its bounds, or at the end of a segment that others follow.
    """

    entries: list[Entry]
    damaged: list[Damage]
    end: Position
    more: bool = False


class Source:
    """
    One spool under its lock.

    Args:
        directory: Of the spool.
        limit: Segment and offset up to which may be read, for a spool that is being written; None for one that is not.
        keep: Whether the folder must stay although all of it was shipped: it holds what was refused, or exchanges that
            never ended.

    Attributes:
        committed: Where the database says we are: None when it has no word of this spool.
        known: False until `committed` is what the database says, and again after any doubt.
        position: Where the next read begins; never before `committed`.
        aside: Ends of records behind `position` that are in quarantine already.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        limit: Callable[[], tuple[int, int]] | None = None,
        keep: Callable[[], bool] = lambda: False,
    ) -> None:
        self.directory = directory
        self.keep = keep
        self.aside: set[Position] = set()
        self._limit = limit
        self._fd = -1
        self._open_number = 0
        self._nonce = 0
        self.committed: Position | None = None
        self.known = False
        self.position = Position.start_of(1)

    @property
    def living(self) -> bool:
        """Whether this process writes to it."""
        return self._limit is not None

    def learn(self, committed: Position | None) -> None:
        """
        Begin where the database says.

        Args:
            committed: From `ship_positions`; None when it has no row for this spool.
        """
        self.committed = committed
        self.known = True
        numbers = self.directory.numbers()
        first = next((number for number in numbers if committed is None or number >= committed.segment), None)
        if first is None:
            # All that the database knows of is deleted; a living spool goes on in a later segment.
            self.position = committed or Position.start_of(1)
        elif committed is None or first > committed.segment or self._lost(committed):
            self.position = Position.start_of(first)
        else:
            self.position = committed

    def forget(self) -> None:
        """Whether the last transaction was committed is unknown: `learn` must come before the next read."""
        self.known = False

    def finish(self) -> None:
        """Nothing more will be written: read to the end of the files."""
        self._limit = None

    def target(self) -> Position:
        """Behind the last byte that may be read now."""
        if self._limit is not None:
            return Position(*self._limit())
        numbers = self.directory.numbers()
        return Position(numbers[-1], self._size(numbers[-1])) if numbers else self.position

    def backlog_bytes(self) -> int:
        """How much is written and not yet read."""
        target = self.target()
        if target.segment == self.position.segment:
            return max(0, target.offset - self.position.offset)
        rest = sum(self._size(n) for n in self.directory.numbers() if self.position.segment <= n < target.segment)
        return max(0, rest - self.position.offset + target.offset)

    def is_ahead(self, size_bytes: int) -> bool:
        """Whether at least so much is written and not yet read; costs no look at the disk."""
        target = Position(*self._limit()) if self._limit is not None else self.position
        return target.segment > self.position.segment or target.offset - self.position.offset >= size_bytes

    def read(self, start: Position, rows: int, size_bytes: int) -> Chunk:
        """
        Read on, within one segment.

        Args:
            start: `position`, or the end of another chunk.
            rows: At most so many entries.
            size_bytes: Stop when so many bytes were read.
        Returns:
            A chunk that ends where it began when there is nothing more.
        Raises:
            OSError: The disk refuses.
        """
        target = self.target()
        chunk = Chunk([], [], start)
        if start >= target:
            return chunk
        finished = start.segment < target.segment
        limit = self._size(start.segment) if finished else target.offset
        if not self._open(start.segment):
            # No header: nothing was ever written there, or the disk has lost it.
            return self._skip(chunk, start, limit) if finished or not self.living else chunk
        reader = SegmentReader(read_at(self._fd), self._nonce, start.offset, limit)
        while len(chunk.entries) < rows and reader.at - start.offset < size_bytes:
            found = reader.next()
            if found is None:
                # Behind the last frame of a finished segment there are zeros or nothing.
                if finished or not self.living:
                    self._skip(chunk, Position(start.segment, reader.at), limit)
                return chunk
            chunk.end = Position(start.segment, reader.at)
            if isinstance(found, Gap):
                chunk.damaged.append(Damage(os.pread(self._fd, found.end - found.start, found.start), chunk.end))
            elif found.kind == Kind.END:
                _take(chunk, found)
        chunk.more = True
        return chunk

    def delete_read(self) -> int:
        """
        Delete the segments before `position`.

        Returns:
            Bytes that are free again.
        """
        freed = 0
        for number in self.directory.numbers():
            if number < self.position.segment:
                freed += self.directory.remove(number)
        return freed

    def close(self) -> None:
        """Close the file that is being read."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _skip(self, chunk: Chunk, start: Position, limit: int) -> Chunk:
        """Go to the next segment, or to the end of the last one; what is passed over and not zero is kept."""
        numbers = self.directory.numbers()
        if start.segment in numbers and start.offset < limit:
            fd = os.open(self.directory.segment(start.segment), os.O_RDONLY | os.O_CLOEXEC)
            try:
                rest = os.pread(fd, limit - start.offset, start.offset).rstrip(ZEROS[:1])
            finally:
                os.close(fd)
            if rest:
                chunk.damaged.append(Damage(rest, Position(start.segment, limit)))
        later = [number for number in numbers if number > start.segment]
        chunk.end = Position.start_of(later[0]) if later else Position(start.segment, max(limit, start.offset))
        chunk.more = bool(later)
        return chunk

    def _open(self, number: int) -> bool:
        """Have the segment open; False when it is not there or has no header."""
        if self._fd >= 0 and self._open_number == number:
            return True
        self.close()
        path = self.directory.segment(number)
        if not path.exists():
            return False
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = read_head(fd)
        if head is None or head.spool_id != self.directory.spool_id:
            os.close(fd)
            return False
        self._fd, self._open_number, self._nonce = fd, number, head.nonce
        return True

    def _size(self, number: int) -> int:
        path = self.directory.segment(number)
        return path.stat().st_size if path.exists() else HEADER_BYTES

    def _lost(self, committed: Position) -> bool:
        """
        Whether the file ends before what was shipped of it.

        A loss of power took bytes that the database already has. What recovery wrote in their place was not shipped, so
        the segment is read again; rows that are there already stay as they are.
        """
        return not self.living and committed.offset > self._size(committed.segment)


def _take(chunk: Chunk, frame: Frame) -> None:
    try:
        record = record_decoder.decode(frame.payload)
    except msgspec.MsgspecError:
        chunk.damaged.append(Damage(bytes(frame.payload), chunk.end))
        return
    if isinstance(record, End):
        chunk.entries.append(Entry(record, frame.payload, chunk.end))
