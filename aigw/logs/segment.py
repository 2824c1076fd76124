"""One file that the spool writes."""

from __future__ import annotations

import os

from aigw.logs.directory import SpoolDirectory
from aigw.logs.frame import HEADER_BYTES, Kind, append_frame, file_header
from aigw.logs.volume import Volume


class Segment:
    """
    An open file and the frames that wait to be written to it.

    A frame is written only where the last good one ended. When a write fails half way, the offset stays: the next try
    goes over the same bytes, and whoever reads in between finds a frame whose CRC is wrong.

    Args:
        volume: The disk.
        fd: Of a new file of `capacity_bytes`.
        number: From 1.
        header: As `file_header` made it; written with the first frames.
        nonce: As in the header.

    Attributes:
        written: Offset behind the last byte that write() took.
        capacity_bytes: Room that the disk has promised.
    """

    def __init__(self, volume: Volume, fd: int, number: int, header: bytes, nonce: int, capacity_bytes: int) -> None:
        self._volume = volume
        self._pending = bytearray(header)
        self._nonce = nonce
        self.fd = fd
        self.number = number
        self.capacity_bytes = capacity_bytes
        self.written = 0

    @classmethod
    def create(cls, volume: Volume, directory: SpoolDirectory, number: int, capacity_bytes: int) -> Segment:
        """
        Make the file and have its room promised.

        Raises:
            OSError: The disk refuses; there is no file then.
        """
        nonce = int.from_bytes(os.urandom(4), "little")
        fd = volume.create(directory.segment(number), capacity_bytes)
        return cls(volume, fd, number, file_header(directory.spool_id, number, nonce), nonce, capacity_bytes)

    @property
    def tail(self) -> int:
        """Offset where the next frame goes."""
        return self.written + len(self._pending)

    @property
    def dirty(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._pending)

    def append(self, kind: Kind, log_id: bytes, record: object) -> int:
        """
        Add a frame to what will be written next.

        Returns:
            Its length in bytes.
        """
        return append_frame(self._pending, self._nonce, kind, log_id, record)

    def take_back(self, size_bytes: int) -> None:
        """Undo the last `append`."""
        del self._pending[-size_bytes:]

    def write(self) -> tuple[int, bytearray]:
        """
        Write all that waits.

        Returns:
            The offset and the bytes that were written there.
        Raises:
            OSError: Nothing counts as written; a later call tries all of it again.
        """
        self._volume.write_all(self.fd, self._pending, self.written)
        offset, data = self.written, self._pending
        self.written += len(data)
        self._pending = bytearray()
        return offset, data

    def seal(self) -> int:
        """
        Give back the room that was not used.

        Returns:
            Bytes that are free again.
        """
        spare = self.capacity_bytes - self.written
        self._volume.truncate(self.fd, self.written)
        self.capacity_bytes = self.written
        return spare

    def close(self) -> None:
        """Close the file. Nothing that waits is written."""
        os.close(self.fd)


FIRST_FRAME = HEADER_BYTES
