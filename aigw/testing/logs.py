"""A log sink for tests, and a disk that fills up."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import SpoolFull
from aigw.interfaces import ILogSink
from aigw.logs.volume import Volume
from aigw.values.record import Begin, End


@implementer(ILogSink)
class MemoryLogSink:
    """
    Keeps records in lists. Passes the same contract tests as the spool.

    Args:
        clock: Releases what waits for a record in its next turn.

    Attributes:
        accepting: Set it to False to have a full spool.
        begun: Every `Begin`, in order.
        ended: Every `End`, in order.
        alone_ids: Log ids of the ends that never had a `Begin`.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._safe: list[Callable[[], None]] = []
        self.accepting = True
        self.begun: list[Begin] = []
        self.ended: list[End] = []
        self.alone_ids: set[bytes] = set()

    def begin(self, record: Begin, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        if not self.accepting:
            raise SpoolFull
        self.begun.append(record)
        self._release(safe)

    def end(self, record: End, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        self.ended.append(record)
        self._release(safe)

    def alone(self, record: End, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        if not self.accepting:
            raise SpoolFull
        self.alone_ids.add(record.origin.id)
        self.end(record, safe)

    def _release(self, safe: Callable[[], None]) -> None:
        if not self._safe:
            self._clock.callLater(0, self._flush)
        self._safe.append(safe)

    def _flush(self) -> None:
        calls, self._safe = self._safe, []
        for call in calls:
            call()


class FullDisk(Volume):
    """
    A disk with little room and a bad temper.

    Attributes:
        room_bytes: What is still free for new files; deleting gives nothing back.
        broken: Every write fails, after half of it.
        piece_bytes: A write takes so many bytes at most; 0: all.
        sync_broken: Every sync fails.
        writes: How many calls of write() there were.
    """

    def __init__(self, room_bytes: int = 2**40) -> None:
        self.room_bytes = room_bytes
        self.broken = False
        self.sync_broken = False
        self.piece_bytes = 0
        self.writes = 0

    def create(self, path: Path, size_bytes: int) -> int:
        """See `Volume`."""
        if size_bytes > self.room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room_bytes -= size_bytes
        return super().create(path, size_bytes)

    def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """See `Volume`."""
        self.writes += 1
        with memoryview(data) as view:
            if self.broken:
                super().write(fd, view[: len(view) // 2], offset)
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(fd, view[: self.piece_bytes] if self.piece_bytes else view, offset)

    def sync(self, fd: int) -> None:
        """See `Volume`."""
        if self.sync_broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)


class SteppedThread:
    """A `SyncThread` whose jobs run when the test says so."""

    def __init__(self) -> None:
        self._jobs: list[tuple[Callable[[], None], Callable[[Failure | None], None]]] = []

    @property
    def waiting(self) -> int:
        """Jobs that have not run."""
        return len(self._jobs)

    def run(self, job: Callable[[], None], done: Callable[[Failure | None], None]) -> None:
        """See `SyncThread`."""
        self._jobs.append((job, done))

    def step(self) -> None:
        """Run the oldest job to its end."""
        job, done = self._jobs.pop(0)
        try:
            job()
        except OSError:
            done(Failure())
        else:
            done(None)

    def stop(self) -> None:
        """See `SyncThread`."""
