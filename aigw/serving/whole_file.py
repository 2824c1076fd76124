"""A small file that is always replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock

RunInThread = Callable[[Callable[[], None]], Deferred[None]]


class WholeFile:
    """
    A file of mode 0600 that a crash leaves as it was or as it was to be.

    Args:
        path: Of the file; its folder exists.
        run_in_thread: Runs a call away from the reactor: flushing to disk may take long.
    """

    def __init__(self, path: Path, run_in_thread: RunInThread) -> None:
        self._path = path
        self._run_in_thread = run_in_thread
        # One writer at a time: a slow older copy must not replace a newer one.
        self._lock = DeferredLock()

    async def write(self, content: Callable[[], bytes]) -> None:
        """
        Replace the file and flush it to the disk.

        Args:
            content: Gives what to write, called when it is this write's turn.
        Raises:
            OSError: The disk refused; the earlier file is untouched.
        """

        def turn() -> Deferred[None]:
            data = content()
            return self._run_in_thread(lambda: _replace(self._path, data))

        await self._lock.run(turn)


def _replace(path: Path, data: bytes) -> None:
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
