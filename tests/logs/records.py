"""Records and spools for the tests of this folder."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from aigw.logs.directory import SpoolDirectory
from aigw.logs.frame import HEADER_BYTES, record_decoder
from aigw.logs.group_sync import GroupSync, SyncThread
from aigw.logs.quota import Quota
from aigw.logs.reader import Frame, Gap, SegmentReader, read_at, read_head
from aigw.logs.settings import SpoolSettings
from aigw.logs.spool import Spool
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.values.ids import LogIds
from aigw.values.record import Begin, End, Origin, Target

# 2026-11-23T00:00:00Z
NOW_MS = 1_795_392_000_000

SMALL = SpoolSettings(segment_bytes=65_536, spool_bytes=1_048_576)


class Records:
    """Makes pairs of `Begin` and `End` with ids of a steady clock."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        ticks = itertools.count(now_ms)
        self._ids = LogIds(lambda: next(ticks))

    def begin(self, **origin: Any) -> Begin:
        """The opening of a new exchange."""
        fields = {"account": "local", "gateway": "default", "request_type": "websocket", **origin}
        return Begin(Origin(id=self._ids.next(), **fields), Target("openai", "chat/completions", "gpt-4o"))

    def end(self, begin: Begin | None = None, **fields: Any) -> End:
        """A good ending of an exchange."""
        begin = begin or self.begin()
        return End(begin.origin, begin.target, **{"status": 200, "success": True, "complete": True, **fields})


class SpoolCase:
    """A spool in a folder, with a clock that the test turns."""

    def __init__(
        self,
        root: Path,
        settings: SpoolSettings = SMALL,
        volume: Volume | None = None,
        thread: SyncThread | None = None,
    ) -> None:
        self.root = root
        self.clock = Clock()
        self.stats = LogStats()
        self.volume = volume or Volume()
        self.quota = Quota(settings.spool_bytes, self.stats)
        self.directory = SpoolDirectory.create(root, uuid.uuid4())
        sync = None
        if thread is not None:
            sync = GroupSync(self.clock, thread, self.volume, self.directory.path, self.stats)
        self.spool = Spool(self.directory, self.clock, settings, self.quota, self.stats, self.volume, sync)
        self.clock.advance(0)

    def turn(self) -> None:
        """Let one turn of the reactor pass."""
        self.clock.advance(0)

    def stored(self) -> list[Begin | End]:
        """All records that a reader of the disk finds now."""
        return [record for number in self.directory.numbers() for record in records_in(self.directory.segment(number))]

    def ids(self, kind: type[Begin] | type[End]) -> list[bytes]:
        """Ids of the stored records of one kind."""
        return [record.origin.id for record in self.stored() if isinstance(record, kind)]


def walk(path: Path) -> list[Frame | Gap]:
    """All that one file holds."""
    with path.open("rb") as file:
        head = read_head(file.fileno())
        if head is None:
            return []
        reader = SegmentReader(read_at(file.fileno()), head.nonce, HEADER_BYTES, path.stat().st_size)
        return list(iter(reader.next, None))


def records_in(path: Path) -> list[Begin | End]:
    """The records of one file."""
    return [record_decoder.decode(f.payload) for f in walk(path) if isinstance(f, Frame) and f.kind in (1, 2)]
