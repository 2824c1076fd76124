"""
The folder of one spool: a lock file, numbered segments, and what the database refused.

    <root>/<spool id>/lock                      held with flock() for as long as its process lives
    <root>/<spool id>/0000000001.segment ...
    <root>/<spool id>/refused/0000000001.segment   the quarantine, in the same format
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path

import attrs

LOCK = "lock"
SUFFIX = ".segment"
REFUSED = "refused"
# Not a spool's name: a folder that is not complete yet is nobody's to adopt.
UNFINISHED = ".unfinished-"


@attrs.define(eq=False)
class SpoolDirectory:
    """
    A spool's folder, held under its lock.

    Attributes:
        path: The folder.
        spool_id: 16 bytes; `ship_positions` knows the spool by it, wherever the folder lies.
    """

    path: Path
    spool_id: bytes
    _lock: int

    @classmethod
    def create(cls, root: Path, spool_id: uuid.UUID) -> SpoolDirectory:
        """
        Make and lock a folder for this process.

        Raises:
            OSError: The disk refuses.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It gets its name when it is locked, so that no other process takes it for one that was left behind.
        unfinished = root / f"{UNFINISHED}{spool_id}"
        unfinished.mkdir(mode=0o700)
        lock = lock_file(unfinished / LOCK)
        if lock is None:
            raise BlockingIOError(f"{unfinished} is locked")
        path = root / str(spool_id)
        unfinished.rename(path)
        return cls(path, spool_id.bytes, lock)

    @classmethod
    def claim(cls, path: Path) -> SpoolDirectory | None:
        """
        Take over the folder of a process that is dead.

        Returns:
            None when its process lives, or the folder is no spool.
        """
        spool_id = spool_name(path.name)
        if spool_id is None:
            return None
        try:
            lock = lock_file(path / LOCK)
        except FileNotFoundError:
            return None
        return None if lock is None else cls(path, spool_id.bytes, lock)

    def numbers(self) -> list[int]:
        """Numbers of the segments that are there, in order."""
        return segment_numbers(self.path)

    def segment(self, number: int) -> Path:
        """Where a segment is, or would be."""
        return segment_path(self.path, number)

    @property
    def refused(self) -> Path:
        """Folder of the quarantine; it may not exist."""
        return self.path / REFUSED

    def remove(self, number: int) -> int:
        """
        Delete a segment.

        Returns:
            Bytes that are free again.
        """
        path = self.segment(number)
        size = path.stat().st_size
        path.unlink()
        return size

    def bytes_used(self) -> int:
        """Length of all files of the spool and its quarantine."""
        return sum(path.stat().st_size for path in (*self.path.glob(f"*{SUFFIX}"), *self.refused.glob(f"*{SUFFIX}")))

    def remove_all(self) -> None:
        """Delete the folder, still under its lock, and let go of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock and leave the folder; the next process to look will adopt it."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


def lock_file(path: Path) -> int | None:
    """
    Lock a file, made if it is missing, until the descriptor is closed or the process dies.

    Returns:
        The descriptor; None when another process holds the lock, or has just deleted the file.
    """
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    if os.fstat(fd).st_nlink == 0:
        os.close(fd)
        return None
    return fd


def segment_path(folder: Path, number: int) -> Path:
    """Path of a numbered segment."""
    return folder / f"{number:010d}{SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Numbers of a folder's segments, in order; empty when there is no such folder."""
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())


def spools_at(path: Path) -> list[Path]:
    """The folder itself if it is a spool's, else the spools in it, by name."""
    if spool_name(path.name) is not None:
        return [path]
    return sorted(each for each in path.iterdir() if spool_name(each.name) is not None) if path.is_dir() else []


def spool_name(name: str) -> uuid.UUID | None:
    """The spool's id that is a folder's name; None when it is none."""
    try:
        return uuid.UUID(name) if len(name) == 36 else None
    except ValueError:
        return None
