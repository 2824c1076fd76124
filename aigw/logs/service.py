"""The logs of one process as one thing: its spool, those it inherited, and the shipping of both."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from aigw.errors import ConfigurationError
from aigw.interfaces import IDatabase
from aigw.logs.directory import SpoolDirectory, spools_at
from aigw.logs.filters import LogFilters
from aigw.logs.group_sync import GroupSync, OwnThread
from aigw.logs.quarantine import Quarantine
from aigw.logs.quota import Quota
from aigw.logs.recovery import adopt, adopt_dead, bring
from aigw.logs.search import ALL, list_logs, show_log
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.logs.shipper import Shipper
from aigw.logs.source import Source
from aigw.logs.spool import Spool
from aigw.logs.stats import LogStats
from aigw.logs.views import LogDetail, LogView
from aigw.logs.volume import Volume
from aigw.logs.window import EnsurePartitions, Window
from aigw.serving.turn import Turn


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class LogService:
    """
    Opens, ships and closes.

    Args:
        reactor: Clock, and the threads for syncing.
        root: Folder of all spools of this data folder.
        spool, shipper: Settings.
        volume: The disk.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        turn: Tells when to flush the spool; by default one of its own.
        leads: Whether it does what one process of a data folder does for all: adopt the spools of dead ones, and remove
            what has expired.

    Attributes:
        stats: What is counted.
        sink: Where records go, once open.
    """

    _log = Logger()
    sink: Spool

    def __init__(
        self,
        reactor: Any,
        root: Path,
        spool: SpoolSettings,
        shipper: ShipperSettings,
        volume: Volume | None = None,
        utc_ms: Callable[[], int] = wall_clock_ms,
        turn: Turn | None = None,
        leads: bool = True,
    ) -> None:
        self._reactor = reactor
        self._root = root
        self._spool_settings = spool
        self._shipper_settings = shipper
        self._volume = volume or Volume()
        self._utc_ms = utc_ms
        self._turn = turn
        self._leads = leads
        self._adopted: list[SpoolDirectory] = []
        self._thread: OwnThread | None = None
        self._shipper: Shipper | None = None
        self._database: IDatabase | None = None
        self.stats = LogStats()
        self._quota = Quota(spool.spool_bytes, self.stats)

    def open(self) -> None:
        """
        Close what dead processes left open, then take records.

        Raises:
            OSError: The folder cannot be used.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._leads:
            self._adopted = adopt_dead(self._root, self._volume, self._quota, self.stats)
        directory = SpoolDirectory.create(self._root, uuid.uuid4())
        sync = None
        if self._spool_settings.durability == "power":
            self._thread = OwnThread(self._reactor)
            sync = GroupSync(self._reactor, self._thread, self._volume, directory.path, self.stats)
        self.sink = Spool(
            *(directory, self._reactor, self._spool_settings, self._quota, self.stats, self._volume, sync, self._turn)
        )
        self._quarantine = Quarantine(directory.refused, directory.spool_id, self._volume, self._quota, self.stats)

    def ship_to(self, database: IDatabase, ensure_partitions: EnsurePartitions) -> None:
        """
        Begin to ship, as soon as the database is there.

        Args:
            database: See `IDatabase`. It must outlive `close`.
            ensure_partitions: Makes partitions with a cursor, from one moment to another.
        """
        self._database = database
        window = Window(ensure_partitions, self._utc_ms, self._shipper_settings.oldest_days)
        shipper = self._shipper = Shipper(
            *(database, self._reactor, self._shipper_settings, self.stats, self._quota, self._quarantine, window),
            sweeps=self._leads,
        )
        sink, quarantine = self.sink, self._quarantine
        shipper.add(Source(sink.directory, sink.written_to, lambda: bool(sink.open_exchanges) or not quarantine.empty))
        for directory in self._adopted:
            shipper.add(Source(directory))
        sink.when_written(shipper.wake)
        shipper.start()

    @property
    def spool_id(self) -> bytes:
        """Of this process's own spool, 16 bytes, once open; the spend ledger knows it by that."""
        return self.sink.directory.spool_id

    def older_spools_shipped(self) -> Deferred[None]:
        """
        Wait for what dead processes had left when this one opened.

        Returns:
            Fires when all of it is in the database or in quarantine; there is no bound but the caller's.
        """
        if not self._adopted:
            return succeed(None)
        if self._shipper is None:
            raise RuntimeError("spools are shipped after `ship_to`")
        return self._shipper.drained(directory.spool_id for directory in self._adopted)

    async def shipped(self) -> None:
        """Wait until all that is written now can be read back. There is no bound but the caller's."""
        if self._shipper is not None:
            await self._shipper.drained()

    def backlog_bytes(self) -> int:
        """What is written and not in the database at this moment; looks at the disk."""
        return 0 if self._shipper is None else self._shipper.backlog_bytes()

    async def list(self, limit: int = 50, before: bytes | None = None, filters: LogFilters = ALL) -> list[LogView]:
        """See `list_logs`."""
        return await list_logs(self._reading(), filters, limit, before)

    async def show(self, log_id: bytes, account: str | None = None, gateway: str | None = None) -> LogDetail | None:
        """See `show_log`."""
        return await show_log(self._reading(), log_id, account, gateway)

    def adopt_dead(self) -> None:
        """Take over the spools of processes that have died since `open`. Blocks for as long as reading them takes."""
        if self._shipper is not None:
            for directory in adopt_dead(self._root, self._volume, self._quota, self.stats):
                self._shipper.add(Source(directory))

    async def adopt(self, path: Path) -> int:
        """
        Take in a spool from a disk that belonged elsewhere.

        Args:
            path: The spool's folder, or one that holds several.
        Returns:
            How many spools are being shipped now because of this.
        Raises:
            ConfigurationError: There is no spool.
            OSError: The disk refuses.
        """
        pool, count = self._reactor.getThreadPool(), 0
        for folder in spools_at(path):
            directory = await deferToThreadPool(self._reactor, pool, bring, folder, self._root)
            if directory is None:
                continue
            adopt(directory, self._volume, self.stats)
            self._quota.take(directory.bytes_used())
            if self._shipper is not None:
                self._shipper.add(Source(directory))
            count += 1
        if not count:
            raise ConfigurationError([f"{path} holds no spool whose process is gone"])
        return count

    async def close(self, flush_s: float = 5.0) -> None:
        """
        Make everything safe, ship what can be shipped, and stop. What is left waits on disk for the next start.

        Args:
            flush_s: How long shipping may go on.
        """
        try:
            await self.sink.close().addTimeout(flush_s, self._reactor)
        except TimeoutError:
            self._log.error("The disk does not take the last logs; final frames were kept back")
        if self._shipper is not None:
            await self._shipper.stop(flush_s)
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def flush_now(self) -> None:
        """Write what still waits in memory; for an exit that waits for nothing else."""
        self.sink.flush_now()

    def _reading(self) -> IDatabase:
        if self._database is None:
            raise RuntimeError("logs are read after `ship_to`")
        return self._database
