"""The few calls that the spool makes to a disk, in one place, so that a test can give it a disk that fills or fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

ZEROS = bytes(1024 * 1024)

# What a file system answers that keeps no promise of room (musl passes it on; glibc writes the zeros itself).
CANNOT_ALLOCATE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Volume:
    """A real disk. Every method may raise OSError."""

    def create(self, path: Path, size_bytes: int) -> int:
        """
        Make a new file whose room is promised.

        Args:
            path: Must not exist.
            size_bytes: Room that later writes will find, disk full or not; the file reads as zeros.
        Returns:
            A file descriptor, open for reading and writing.
        """
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            self.allocate(fd, size_bytes)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def allocate(self, fd: int, size_bytes: int) -> None:
        """Promise room from the start of a file."""
        try:
            os.posix_fallocate(fd, 0, size_bytes)
        except OSError as error:
            if error.errno not in CANNOT_ALLOCATE:
                raise
            for offset in range(0, size_bytes, len(ZEROS)):
                self.write_all(fd, ZEROS[: size_bytes - offset], offset)

    def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """One write(); it may take less than all."""
        return os.pwrite(fd, data, offset)

    def write_all(self, fd: int, data: bytes | bytearray, offset: int) -> None:
        """
        Write until nothing is left.

        Raises:
            OSError: Some of the bytes may be in the file; whoever reads it must not trust them.
        """
        done = self.write(fd, data, offset)
        if done == len(data):
            return
        with memoryview(data) as view:
            while done < len(data):
                count = self.write(fd, view[done:], offset + done)
                if not count:
                    raise OSError(errno.EIO, "the disk takes no bytes")
                done += count

    def sync(self, fd: int) -> None:
        """Return when what was written would survive a loss of power."""
        os.fdatasync(fd)

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Give back the room behind an offset."""
        os.ftruncate(fd, size_bytes)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in a folder would survive a loss of power."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
