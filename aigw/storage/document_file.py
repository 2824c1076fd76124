"""The copy of documents on disk, so that a start survives an outage of the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, DeferredLock

from aigw.errors import ConfigurationError
from aigw.storage.document_table import Row

RunInThread = Callable[[Callable[[], None]], Deferred[None]]


class _Content(msgspec.Struct, frozen=True):
    version: int
    documents: tuple[Row, ...]


class DocumentFile:
    """
    A file with all documents of one kind, mode 0600, replaced as a whole.

    Args:
        path: Of the file; its folder exists.
        run_in_thread: Runs a call away from the reactor: flushing to disk may take long.
    """

    def __init__(self, path: Path, run_in_thread: RunInThread) -> None:
        self._path = path
        self._run_in_thread = run_in_thread
        # One writer at a time: a slow older copy must not replace a newer one.
        self._lock = DeferredLock()

    def read(self) -> tuple[Row, ...] | None:
        """
        What the file holds; None when there is no file yet. Blocks, so it is for the start.

        Raises:
            ConfigurationError: The file cannot be read. Starting without it would drop the owner's limits.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Content).documents
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            problem = f"{self._path}: cannot be read ({error}); restore the file, or move it away to go on"
            raise ConfigurationError([f"{problem} with what the database holds"]) from error

    async def write(self, current: Callable[[], Sequence[Row]]) -> None:
        """
        Replace the file and flush it to the disk.

        Args:
            current: Gives the documents to write, called when it is this write's turn.
        Raises:
            OSError: The disk refused; the earlier file is untouched.
        """

        def turn() -> Deferred[None]:
            data = msgspec.json.encode(_Content(version=1, documents=tuple(current())))
            return self._run_in_thread(lambda: replace_file(self._path, data))

        await self._lock.run(turn)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` such that a crash at any moment leaves the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        # A file left by a crash keeps the mode that it had.
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
