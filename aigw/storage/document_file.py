"""The copy of documents on disk, so that a start survives an outage of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from aigw.errors import ConfigurationError
from aigw.serving.whole_file import RunInThread, WholeFile
from aigw.storage.document_table import Row


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
        self._file = WholeFile(path, run_in_thread)

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

        await self._file.write(lambda: msgspec.json.encode(_Content(version=1, documents=tuple(current()))))
