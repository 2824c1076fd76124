"""Durability against a loss of power: one fdatasync for all records of a group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from aigw.logs.segment import Segment
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume

RETRY_S = 0.25


class SyncThread(Protocol):
    """Runs one job at a time outside of the reactor's thread."""

    def run(self, job: Callable[[], None], done: Callable[[Failure | None], None]) -> None:
        """
        Run a job.

        Args:
            job: May block and raise.
            done: Called in the reactor's thread, with what was raised.
        """

    def stop(self) -> None:
        """Finish the job under way and end the thread."""


class OwnThread:
    """
    A thread for the spool alone: in the reactor's pool, ten look-ups of a dead DNS server would hold up every answer.

    Args:
        reactor: Told of finished jobs.
    """

    def __init__(self, reactor: IReactorThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(1, 1, "aigw-spool-sync")
        self._pool.start()

    def run(self, job: Callable[[], None], done: Callable[[Failure | None], None]) -> None:
        """See `SyncThread`."""

        def finished(success: bool, result: object) -> None:
            self._reactor.callFromThread(done, None if success else result)

        self._pool.callInThreadWithCallback(finished, job)

    def stop(self) -> None:
        """See `SyncThread`."""
        self._pool.stop()


@attrs.frozen
class _Group:
    """What one fdatasync covers."""

    written: list[tuple[Segment, int, bytearray]]
    waiting: list[Callable[[], None]]
    retired: list[Segment]


class GroupSync:
    """
    Releases what waits for the disk itself. While one fdatasync runs, the next group gathers.

    Args:
        clock: For the pause before a refused sync is tried again.
        thread: Where fdatasync blocks.
        volume: The disk.
        folder: Where the segments lie; its names must be safe, too.
        stats: Counts refusals.

    Attributes:
        failing: True from a refused sync until one that was not.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, thread: SyncThread, volume: Volume, folder: Path, stats: LogStats) -> None:
        self._clock = clock
        self._thread = thread
        self._volume = volume
        self._folder = folder
        self._stats = stats
        self._written: list[tuple[Segment, int, bytearray]] = []
        self._waiting: list[Callable[[], None]] = []
        self._retired: list[Segment] = []
        self._running = False
        self._idle: list[Callable[[], None]] = []
        self.failing = False

    def add(self, segment: Segment, offset: int, data: bytearray) -> None:
        """
        Take note of a write.

        Args:
            segment, offset, data: What was written where. The bytes are kept until they are safe: after a failed
                fdatasync the kernel takes its pages for clean, so only a new write makes a new sync mean anything.
        """
        self._written.append((segment, offset, data))

    def release_when_safe(self, calls: list[Callable[[], None]]) -> None:
        """
        Sync all that was added.

        Args:
            calls: Called in order, when it is on the disk.
        """
        self._waiting += calls
        self._start()

    def retire(self, segment: Segment) -> None:
        """Close a segment when nothing of it waits any more."""
        self._retired.append(segment)
        self._start()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call when nothing waits: now, or when the last sync is done."""
        if self._running:
            self._idle.append(call)
        else:
            call()

    def _start(self) -> None:
        if self._running or not (self._written or self._waiting or self._retired):
            return
        self._running = True
        group = _Group(self._written, self._waiting, self._retired)
        self._written, self._waiting, self._retired = [], [], []
        self._sync(group, again=False)

    def _sync(self, group: _Group, again: bool) -> None:
        def job() -> None:
            if again:
                for segment, offset, data in group.written:
                    self._volume.write_all(segment.fd, data, offset)
            for fd in {segment.fd: None for segment, _, _ in group.written}:
                self._volume.sync(fd)
            if any(offset == 0 for _, offset, _ in group.written):
                self._volume.sync_folder(self._folder)

        def done(failure: Failure | None) -> None:
            if failure is None:
                self._finish(group)
                return
            self.failing = True
            self._stats.write_failures += 1
            self._log.failure("The disk does not take the spool; final frames wait for it", failure=failure)
            self._clock.callLater(RETRY_S, self._sync, group, True)

        self._thread.run(job, done)

    def _finish(self, group: _Group) -> None:
        self.failing = False
        self._running = False
        for segment in group.retired:
            segment.close()
        release(group.waiting)
        self._start()
        if not self._running:
            idle, self._idle = self._idle, []
            release(idle)


_log = Logger()


def release(calls: list[Callable[[], None]]) -> None:
    """Make each call; one that fails must not keep the others' final frames."""
    for call in calls:
        try:
            call()
        except Exception:
            _log.failure("What waited for its record failed")
