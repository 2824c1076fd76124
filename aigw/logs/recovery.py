"""Spools whose process is dead: their open exchanges are closed, then they are shipped like any other."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import attrs
import msgspec
from twisted.logger import Logger

from aigw.errors import Interrupted
from aigw.logs.directory import UNFINISHED, SpoolDirectory, spools_at
from aigw.logs.fit import interrupted, squeezed
from aigw.logs.frame import HEADER_BYTES, Kind, append_frame, record_decoder
from aigw.logs.quota import Quota
from aigw.logs.reader import Frame, SegmentReader, read_at, read_head
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.values.record import Begin

log = Logger()


@attrs.define
class LastSegment:
    """
    What the end of a dead spool says.

    Attributes:
        number: Of the segment.
        nonce: Of its file.
        good_end: Offset behind its last whole frame.
        open: `Begin`s without an `End`, by log id.
        whole: Whether every exchange that was open when the segment was begun stands in it.
    """

    number: int
    nonce: int
    good_end: int
    open: dict[bytes, Begin]
    whole: bool


def adopt_dead(root: Path, volume: Volume, quota: Quota, stats: LogStats) -> list[SpoolDirectory]:
    """
    Take over every spool below a folder whose process is dead, and close its open exchanges durably.

    Args:
        root: Where the spools of all processes lie.
        volume, quota, stats: As for the spool itself.
    Returns:
        What is to be shipped, each locked. Spools of living processes are not among them.
    """
    adopted = []
    for path in spools_at(root):
        directory = SpoolDirectory.claim(path)
        if directory is None:
            continue
        try:
            adopt(directory, volume, stats)
        except OSError as error:
            # Left as it is: the next start tries again, and nothing of it is lost meanwhile.
            stats.write_failures += 1
            log.error("The spool {path} cannot be adopted now: {error}", path=str(path), error=error)
            directory.release()
            continue
        quota.take(directory.bytes_used())
        adopted.append(directory)
    return adopted


def bring(source: Path, root: Path) -> SpoolDirectory | None:
    """
    Copy a spool from a disk that belonged elsewhere. Blocks for as long as the copying takes: call it in a thread.

    Args:
        source: The spool's folder, named by its id. It is left as it is; bringing it again ships nothing twice, since
            the database knows how far the spool was read.
        root: Where this machine's spools lie.
    Returns:
        The copy, locked, for `adopt`; None when its process lives or the folder is no spool.
    Raises:
        OSError: The disk refuses, or a spool of this name is there already.
    """
    original = SpoolDirectory.claim(source)
    if original is None:
        return None
    try:
        if (root / source.name).exists():
            raise FileExistsError(f"{source.name} is here already, and on its way into the database")
        unfinished = root / f"{UNFINISHED}{source.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished)
        unfinished.rename(root / source.name)
    finally:
        original.release()
    return SpoolDirectory.claim(root / source.name)


def adopt(directory: SpoolDirectory, volume: Volume, stats: LogStats) -> None:
    """
    Close the open exchanges of a dead process. Doing it again adds nothing.

    Args:
        directory: Locked by this process.
        volume: The disk.
        stats: Counts interrupted exchanges and torn bytes.
    Raises:
        OSError: The disk refuses; the next try finds what this one left.
    """
    last = _last_segment(directory)
    if last is None:
        return
    ends = bytearray()
    for begin in last.open.values():
        end = interrupted(begin, Interrupted.status, Interrupted.code, Interrupted.text)
        append_frame(ends, last.nonce, Kind.END, begin.origin.id, squeezed(end, begin))
    stats.torn_bytes += _write_end(directory.segment(last.number), volume, last.good_end, ends)
    stats.interrupted += len(last.open)
    if last.open:
        log.info(
            "Closed {count} exchanges that were running when the process of spool {spool} died",
            count=len(last.open),
            spool=str(uuid.UUID(bytes=directory.spool_id)),
        )


def _write_end(path: Path, volume: Volume, good_end: int, ends: bytearray) -> int:
    """
    Put the last records behind the last whole frame, and cut the file there.

    They go into the room that was kept for them when their exchanges began: a full disk is no reason to lose them.

    Returns:
        Bytes of a half-written record that were overwritten; nobody was ever told that it is safe.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        torn = os.pread(fd, max(0, os.fstat(fd).st_size - good_end), good_end).rstrip(b"\0")
        # What was torn goes first: a later try must not find an old frame behind half-written new ones.
        if torn:
            volume.write_all(fd, bytes(len(torn)), good_end)
            volume.sync(fd)
        if ends:
            volume.write_all(fd, ends, good_end)
        volume.truncate(fd, good_end + len(ends))
        os.fsync(fd)
    finally:
        os.close(fd)
    return len(torn)


def _last_segment(directory: SpoolDirectory) -> LastSegment | None:
    """The state that the last segment (or, where it is not whole, the last two) tells."""
    numbers = directory.numbers()
    last: LastSegment | None = None
    for number in reversed(numbers):
        scanned = _scan(directory, number, {})
        if scanned is None:
            # The process died before the first write; everything that was open stands in the segment before.
            directory.remove(number)
            continue
        if scanned.whole or number == numbers[0]:
            return scanned
        before = _scan(directory, number - 1, {}) if number - 1 in numbers else None
        last = scanned if before is None else _scan(directory, number, before.open)
        break
    return last


def _scan(directory: SpoolDirectory, number: int, begun: dict[bytes, Begin]) -> LastSegment | None:
    """Walk one segment; None when it has no header."""
    with directory.segment(number).open("rb") as file:
        head = read_head(file.fileno())
        if head is None or head.spool_id != directory.spool_id:
            return None
        size = os.fstat(file.fileno()).st_size
        reader = SegmentReader(read_at(file.fileno()), head.nonce, HEADER_BYTES, size)
        state = LastSegment(number, head.nonce, HEADER_BYTES, dict(begun), whole=False)
        while (found := reader.next()) is not None:
            if isinstance(found, Frame):
                _follow(state, found)
            state.good_end = reader.at
    return state


def _follow(state: LastSegment, frame: Frame) -> None:
    if frame.kind == Kind.BEGIN:
        try:
            record = record_decoder.decode(frame.payload)
        except msgspec.MsgspecError as error:
            log.error("A spool holds the beginning of an exchange that cannot be read: {error}", error=error)
            return
        if isinstance(record, Begin):
            state.open[frame.log_id] = record
    elif frame.kind == Kind.END:
        state.open.pop(frame.log_id, None)
    elif frame.kind == Kind.CARRIED:
        state.whole = True
