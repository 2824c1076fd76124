"""The write-ahead file that makes a log safe before PostgreSQL has it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from aigw.errors import SpoolFull
from aigw.interfaces import ILogSink
from aigw.logs.directory import SpoolDirectory
from aigw.logs.fit import end_room_bytes, representable, squeezed, without_bodies
from aigw.logs.frame import FRAME_BYTES, HEADER_BYTES, NO_ID, Kind, Record
from aigw.logs.group_sync import GroupSync, release
from aigw.logs.quota import Quota
from aigw.logs.segment import Segment
from aigw.logs.settings import SpoolSettings
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.serving.turn import Turn
from aigw.values.record import Begin, End

WRITE_RETRY_S = 0.25
ROOM_RETRY_S = 1.0
# Free room that makes it worth taking requests again in the present segment.
ROOM_BYTES = 64 * 1024
# With `drop-bodies`: the share of the quota from which on bodies are left out.
BODIES_SHARE = 0.75

Opened = tuple[Begin, int]


@implementer(ILogSink)
class Spool:
    """
    Appends records to segments: all records of one turn of the reactor in one write(), then whoever waits for them.

    Room for the end of every open exchange is kept free in the present segment, so a disk that fills up ends no
    exchange early. Open exchanges are carried into each new segment: the last segment alone tells what was running.

    Args:
        directory: Locked folder of this spool, without segments.
        clock: For the flush of each turn, and for trying a refusing disk again.
        settings: See there.
        quota: Room over all files of the process.
        stats: Where to count.
        volume: The disk.
        sync: Given for durability against a loss of power: final frames wait for it.
        turn: Tells when to flush, should others wait for the same moment.
    """

    _log = Logger()

    def __init__(
        self,
        directory: SpoolDirectory,
        clock: IReactorTime,
        settings: SpoolSettings,
        quota: Quota,
        stats: LogStats,
        volume: Volume,
        sync: GroupSync | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._settings = settings
        self._quota = quota
        self._stats = stats
        self._volume = volume
        self._sync = sync
        self._open: dict[bytes, Opened] = {}
        self._reserved = 0
        self._after_write: list[Callable[[], None]] = []
        self._after_sync: list[Callable[[], None]] = []
        self._turn = turn or Turn(clock)
        self._flushing = False
        self._retry_call: IDelayedCall | None = None
        self._room_call: IDelayedCall | None = None
        self._written: list[Callable[[], None]] = []
        self._segment: Segment | None = None
        self._number = 0
        self._full = False
        # What the record would have needed whose bodies found no room.
        self._wanted = 0
        self._failing = False
        self._closed = False
        quota.when_freed(self._look_for_room_soon)
        if not self._rotate(0):
            self._become_full()

    # ILogSink -----------------------------------------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        """False while `begin` would raise SpoolFull."""
        return not (self._full or self._failing or self._closed or (self._sync is not None and self._sync.failing))

    def begin(self, record: Begin, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        if not self.accepting:
            self._refuse()
        short, size = self._put_begin(record)
        if short and self._rotate(short):
            short, size = self._put_begin(record)
        if short:
            self._become_full()
            self._refuse()
        kept = end_room_bytes(size)
        self._open[record.origin.id] = (record, kept)
        self._reserved += kept
        self._stats.begun += 1
        self._after_write.append(safe)
        self._flush_soon()

    def end(self, record: End, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        log_id = record.origin.id
        begin, kept = self._open.get(log_id, (None, 0))
        if self._saving and _has_bodies(record):
            record = self._without_bodies(record)
        short = self._put_end(record, kept)
        if short and self._rotate(short):
            short = self._put_end(record, kept)
        if short and _has_bodies(record):
            if self._settings.when_full == "refuse":
                # The next request's bodies would find no room either, and are worth more than its answer.
                self._wanted = short
                self._become_full()
            record = self._without_bodies(record)
            short = self._put_end(record, kept)
        if short and begin is not None:
            short = self._put_end(squeezed(record, begin), kept)
        if short:
            # Only without a `Begin`, which has kept room, can this be.
            self._stats.ends_lost += 1
            self._log.error("No room for the record of an exchange that never began")
        else:
            self._stats.ended += 1
        self._open.pop(log_id, None)
        self._reserved -= kept
        self._release_with_end(safe)

    def alone(self, record: End, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        if not self.accepting:
            self._refuse()
        if self._saving and _has_bodies(record):
            record = self._without_bodies(record)
        short = self._put_end(record, 0)
        if short and self._rotate(short):
            short = self._put_end(record, 0)
        if short:
            self._become_full()
            self._refuse()
        self._stats.begun += 1
        self._stats.ended += 1
        self._release_with_end(safe)

    def _release_with_end(self, safe: Callable[[], None]) -> None:
        (self._after_write if self._sync is None else self._after_sync).append(safe)
        self._flush_soon()

    # For the shipper and the assembly -----------------------------------------------------------------------------

    @property
    def open_exchanges(self) -> int:
        """How many exchanges have begun and not ended."""
        return len(self._open)

    def written_to(self) -> tuple[int, int]:
        """Number of the present segment, and the offset up to which it may be read."""
        return self._number, self._segment.written if self._segment else 0

    def when_written(self, call: Callable[[], None]) -> None:
        """Call back after each write."""
        self._written.append(call)

    def flush_now(self) -> None:
        """Write what waits, without waiting for the turn to end."""
        if self._flushing or self._retry_call is not None:
            self._flush()

    def close(self) -> Deferred[None]:
        """
        Write what waits and take nothing more. Segments stay for the shipper, the lock stays with `directory`.

        Returns:
            Fires when every record is as durable as the settings ask.
        """
        self._closed = True
        for call in (self._room_call, self._retry_call):
            if call is not None and call.active():
                call.cancel()
        self._room_call = self._retry_call = None
        self._flush()
        done: Deferred[None] = Deferred()
        if self._sync is None:
            done = succeed(None)
        else:
            self._sync.when_idle(lambda: done.callback(None))
        return done.addCallback(lambda _: self._retire())

    # Room ---------------------------------------------------------------------------------------------------------

    @property
    def _saving(self) -> bool:
        """Whether bodies are left out so that more requests find room."""
        if self._settings.when_full != "drop-bodies":
            return False
        return self._full or self._quota.used_bytes > self._quota.limit_bytes * BODIES_SHARE

    def _put_begin(self, record: Begin) -> tuple[int, int]:
        """
        Add a `Begin` if there is room for it and its `End`.

        Returns:
            0 and the frame's length; or the bytes that a new segment must have room for, and 0.
        """
        size, free = self._append(Kind.BEGIN, record)
        kept = end_room_bytes(size)
        if free >= kept:
            return 0, size
        self._take_back(size)
        return size + kept, 0

    def _put_end(self, record: End, kept: int) -> int:
        """
        Add an `End` if there is room for it beside what is kept for others.

        Returns:
            0; or the bytes that a new segment must have room for.
        """
        size, free = self._append(Kind.END, record)
        if free + kept >= 0:
            return 0
        self._take_back(size)
        return max(size, 1)

    def _append(self, kind: Kind, record: Record) -> tuple[int, int]:
        """Add a frame; its length, and what is then free beside all reservations (below 0: it must be taken back)."""
        segment = self._segment
        if segment is None:
            # Before the first segment there is room for nothing; the length is a guess that the next try corrects.
            return 0, -self._settings.segment_bytes
        log_id = record.origin.id
        try:
            size = segment.append(kind, log_id, record)
        except (UnicodeEncodeError, OverflowError):
            size = segment.append(kind, log_id, representable(record))
        return size, segment.capacity_bytes - segment.tail - self._reserved

    def _take_back(self, size: int) -> None:
        if self._segment is not None and size:
            self._segment.take_back(size)

    def _without_bodies(self, record: End) -> End:
        self._stats.bodies_dropped += 1
        return without_bodies(record)

    def _refuse(self) -> None:
        self._stats.refused += 1
        raise SpoolFull

    def _rotate(self, need_bytes: int) -> bool:
        """
        Go on in a new segment, which begins with all open exchanges.

        Returns:
            False when the quota or the disk does not allow it; all is as before then.
        """
        begun = self._reserved - len(self._open) * end_room_bytes(0)
        # Half a segment stays free however many exchanges are open, so that the next rotation is not near.
        carried = begun + self._reserved + self._settings.segment_bytes // 2 if self._open else 0
        capacity = max(self._settings.segment_bytes, HEADER_BYTES + FRAME_BYTES + 4 + carried + need_bytes)
        if self._closed or not self._quota.allows(capacity) or not self._write():
            return False
        try:
            segment = Segment.create(self._volume, self.directory, self._number + 1, capacity)
        except OSError as error:
            self._stats.write_failures += 1
            self._log.warn("The disk has no room for another spool segment: {error}", error=error)
            return False
        for begin, _ in self._open.values():
            self._carry(segment, begin)
        segment.append(Kind.CARRIED, NO_ID, None)
        self._quota.take(capacity)
        self._retire()
        self._segment = segment
        self._number = segment.number
        self._flush_soon()
        return True

    def _carry(self, segment: Segment, begin: Begin) -> None:
        try:
            segment.append(Kind.BEGIN, begin.origin.id, begin)
        except (UnicodeEncodeError, OverflowError):
            segment.append(Kind.BEGIN, begin.origin.id, representable(begin))

    def _retire(self) -> None:
        """Give back what the present segment did not use, and close it."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            self._quota.give_back(segment.seal())
        except OSError as error:
            self._log.warn("A spool segment could not be cut to its length: {error}", error=error)
        if self._sync is None:
            segment.close()
        else:
            self._sync.retire(segment)

    def _become_full(self) -> None:
        if not self._full:
            self._log.warn("The log spool is full; new requests are refused until there is room")
        self._full = True
        if self._room_call is None and not self._closed:
            self._room_call = self._clock.callLater(ROOM_RETRY_S, self._look_for_room)

    def _look_for_room_soon(self) -> None:
        # Never from within the call that frees the room: that may be this spool's own rotation.
        if self._full and self._room_call is not None:
            self._room_call.reset(0)

    def _look_for_room(self) -> None:
        self._room_call = None
        segment = self._segment
        free = segment.capacity_bytes - segment.tail - self._reserved if segment else 0
        wanted = max(ROOM_BYTES, self._wanted)
        if free >= wanted or self._rotate(wanted):
            self._full = False
            self._wanted = 0
            self._log.info("The log spool has room again")
        else:
            self._become_full()

    # Writing ------------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._flushing and self._retry_call is None:
            self._flushing = True
            self._turn.soon(self._flush)

    def _flush(self) -> None:
        """Write all records of this turn, then release those who wait for them, in order."""
        self._flushing = False
        if self._retry_call is not None:
            if self._retry_call.active():
                self._retry_call.cancel()
            self._retry_call = None
        if not self._write():
            if not self._closed:
                self._retry_call = self._clock.callLater(WRITE_RETRY_S, self._flush)
            return
        calls, self._after_write = self._after_write, []
        if self._sync is not None:
            ends, self._after_sync = self._after_sync, []
            self._sync.release_when_safe(ends)
        release(calls)
        release(self._written)

    def _write(self) -> bool:
        """Hand what waits to the kernel; False when the disk refuses."""
        segment = self._segment
        if segment is None or not segment.dirty:
            return True
        try:
            offset, data = segment.write()
        except OSError as error:
            self._stats.write_failures += 1
            if not self._failing:
                self._log.error("The disk does not take the log; final frames wait for it: {error}", error=error)
            self._failing = True
            return False
        self._failing = False
        self._stats.writes += 1
        if self._sync is not None:
            self._sync.add(segment, offset, data)
        return True


def _has_bodies(record: End) -> bool:
    return record.request_body is not None or record.response_body is not None
