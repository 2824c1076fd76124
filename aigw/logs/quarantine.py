"""Where records wait that the database refused."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import msgspec

from aigw.logs.directory import segment_numbers, segment_path
from aigw.logs.frame import HEADER_BYTES, NO_ID, Kind, append_frame, file_header, record_decoder
from aigw.logs.position import Position
from aigw.logs.quota import Quota
from aigw.logs.reader import Frame, SegmentReader, read_at, read_head
from aigw.logs.source import Entry
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.values.record import End

DAMAGED_PIECE_BYTES = 1024 * 1024


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """
    What a frame of the quarantine holds.

    Attributes:
        reason: What the database, or the shipper, said.
        payload: An `End` in msgpack, or bytes that were no frame.
    """

    reason: str
    payload: bytes


@attrs.frozen
class Waiting:
    """
    One record in quarantine.

    Attributes:
        refused: See there.
        entry: To be tried again.
        spool_id: Of the spool that it was written to.
    """

    refused: Refused
    entry: Entry
    spool_id: bytes


_decoder = msgspec.msgpack.Decoder(Refused)


class Quarantine:
    """
    A folder of files in the spool's own format, each written once and synced.

    Args:
        folder: Made when it is first needed; lies below a locked spool.
        spool_id: Of that spool.
        volume: The disk.
        quota: Counts these files, too.
        stats: Counts records.
    """

    def __init__(self, folder: Path, spool_id: bytes, volume: Volume, quota: Quota, stats: LogStats) -> None:
        self._folder = folder
        self._spool_id = spool_id
        self._volume = volume
        self._quota = quota
        self._stats = stats

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.files()

    def files(self) -> list[int]:
        """Numbers of the files, oldest first."""
        return segment_numbers(self._folder)

    def put(self, entries: Sequence[Entry], reason: str) -> None:
        """
        Put records aside, durably.

        Args:
            entries: As they were read from the spool.
            reason: For the operator; holds no prompt.
        Raises:
            OSError: The disk refuses; none was put aside then.
        """
        frames = [(Kind.REFUSED, e.record.origin.id, Refused(reason, bytes(e.payload))) for e in entries]
        self._write(frames, self._spool_id)
        self._stats.quarantined += len(entries)
        self._stats.quarantine_records += len(entries)

    def put_damaged(self, data: bytes, reason: str) -> None:
        """Keep bytes for the operator that should have been records and are not."""
        pieces = [data[at : at + DAMAGED_PIECE_BYTES] for at in range(0, len(data), DAMAGED_PIECE_BYTES)]
        self._write([(Kind.DAMAGED, NO_ID, Refused(reason, piece)) for piece in pieces], self._spool_id)
        self._stats.corrupt_bytes += len(data)

    def read(self, number: int) -> Iterator[Waiting]:
        """The records of one file that may be tried again; damaged bytes are not among them."""
        with segment_path(self._folder, number).open("rb") as file:
            head = read_head(file.fileno())
            if head is None:
                return
            size = os.fstat(file.fileno()).st_size
            reader = SegmentReader(read_at(file.fileno()), head.nonce, HEADER_BYTES, size)
            while (found := reader.next()) is not None:
                if isinstance(found, Frame) and found.kind == Kind.REFUSED:
                    refused = _decoder.decode(found.payload)
                    record = record_decoder.decode(refused.payload)
                    if isinstance(record, End):
                        entry = Entry(record, memoryview(refused.payload), Position(number, found.end))
                        yield Waiting(refused, entry, head.spool_id)

    def replace(self, number: int, rest: list[Waiting], released: int) -> None:
        """
        Keep of a file only what was refused again.

        Args:
            number: Of the file.
            rest: What stays; written anew before the file is deleted.
            released: How many have left for the database.
        """
        if rest:
            frames = [(Kind.REFUSED, waiting.entry.record.origin.id, waiting.refused) for waiting in rest]
            self._write(frames, rest[0].spool_id)
        self._remove(number)
        self._stats.released += released
        self._stats.quarantine_records -= released

    def take_over(self, folder: Path) -> None:
        """Move in what an adopted spool had in quarantine; its bytes are counted already."""
        for number in segment_numbers(folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            target = segment_path(self._folder, self._next_number())
            segment_path(folder, number).rename(target)
            self._stats.quarantine_records += sum(1 for _ in self.read(int(target.stem)))

    def _write(self, frames: list[tuple[Kind, bytes, Refused]], spool_id: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        number = self._next_number()
        nonce = int.from_bytes(os.urandom(4), "little")
        data = bytearray(file_header(spool_id, number, nonce))
        for kind, log_id, refused in frames:
            append_frame(data, nonce, kind, log_id, refused)
        path = segment_path(self._folder, number)
        fd = self._volume.create(path, len(data))
        try:
            self._volume.write_all(fd, data, 0)
            self._volume.sync(fd)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self._volume.sync_folder(self._folder)
        self._quota.take(len(data))

    def _remove(self, number: int) -> None:
        path = segment_path(self._folder, number)
        size = path.stat().st_size
        path.unlink()
        self._quota.give_back(size)

    def _next_number(self) -> int:
        return max(self.files(), default=0) + 1
