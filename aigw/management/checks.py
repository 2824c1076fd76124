"""What `aigw doctor` looks at; each check is one sentence for the operator."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import msgspec

from aigw.controls.master_key import master_key_problem
from aigw.dispatch.gateways import Gateways
from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase, ILogSink
from aigw.logs.stats import LogStats

# Ids hold the wall clock's time, and the database sorts by them.
_CLOCK_TOLERANCE_MS = 5_000
# No release of this program was made before: such a clock was never set.
_NOT_BEFORE_MS = 1_735_689_600_000
_LEAST_FREE_BYTES = 256 * 1024 * 1024

_DATABASE_SQL = """
    SELECT current_setting('server_version'), round(extract(epoch FROM clock_timestamp()) * 1000)::bigint
"""


class Check(msgspec.Struct, frozen=True):
    """
    One finding.

    Attributes:
        name: What was looked at.
        ok: False when somebody should do something.
        text: What was found, and what to do about it.
    """

    name: str
    ok: bool
    text: str


def check_data_dir(data_dir: Path) -> Check:
    """Whether the folder is there, private and has room."""
    try:
        mode = stat.S_IMODE(data_dir.stat().st_mode)
        disk = os.statvfs(data_dir)
    except OSError as error:
        return Check("data folder", False, f"{data_dir}: {error.strerror}; the first start makes it")
    free_bytes = disk.f_bavail * disk.f_frsize
    if mode & 0o077:
        return Check("data folder", False, f"{data_dir}: other users may look into it; run: chmod 700 {data_dir}")
    if free_bytes < _LEAST_FREE_BYTES:
        return Check("data folder", False, f"{data_dir}: only {free_bytes >> 20} MiB are free")
    return Check("data folder", True, f"{data_dir}, {free_bytes >> 30} GiB free")


def clock_problem(now_ms: int) -> str:
    """Why a wall clock cannot be right; empty when it may be."""
    return "it has never been set; logs would get wrong times" if now_ms < _NOT_BEFORE_MS else ""


def check_master_key(data_dir: Path) -> Check:
    """Whether the key can be used."""
    problem = master_key_problem(data_dir)
    return Check("master key", not problem, problem or "there, and private")


def check_gateways(gateways: Gateways) -> Check:
    """Which gateways there are, and which of them are stored in vain."""
    by_origin = {"file": "in the settings file", "stored": "stored", "default": "not yet changed"}
    entries = gateways.entries()
    found = [
        f"{what}: {', '.join(names)}"
        for origin, what in by_origin.items()
        if (names := [f"{one.gateway.account}/{one.gateway.id}" for one in entries if one.origin == origin])
    ]
    shadowed = gateways.shadowed()
    if shadowed:
        found.append(f"stored in vain, since the settings file wins: {', '.join(shadowed)}")
    return Check("gateways", True, "; ".join(found))


@attrs.frozen
class Doctor:
    """
    The checks that only the running gateway can make.

    Attributes:
        data_dir: Its data folder.
        ports: Gives the addresses that it listens on.
        database: Where logs go.
        sink: Where logs are made safe.
        stats: What sink and shipper count.
        backlog_bytes: What the spool holds that the database does not have.
        utc_ms: Wall clock.
        gateways: All of them; None where they are not looked at.
        away: Names the stores of counters and of cached answers that do not answer.
        workers: What is said of the processes that accept connections; None where this is the only one.
    """

    data_dir: Path
    ports: Callable[[], Sequence[str]]
    database: IDatabase
    sink: ILogSink
    stats: LogStats
    backlog_bytes: Callable[[], int]
    utc_ms: Callable[[], int]
    gateways: Gateways | None = None
    away: Callable[[], list[str]] = list
    workers: Callable[[], Check] | None = None

    async def __call__(self) -> list[Check]:
        """Every check, the good ones too."""
        database, clock = await self._database_and_clock()
        return [
            self._ports(),
            check_data_dir(self.data_dir),
            database,
            self._spool(),
            clock,
            check_master_key(self.data_dir),
            self._state(),
            *(() if self.gateways is None else (check_gateways(self.gateways),)),
            *(() if self.workers is None else (self.workers(),)),
        ]

    def _ports(self) -> Check:
        addresses = self.ports()
        return Check("ports", bool(addresses), f"listening on {', '.join(addresses)}" if addresses else "none is open")

    def _state(self) -> Check:
        away = self.away()
        if away:
            return Check("state", False, f"{' and '.join(away)} cannot be reached; see [state] in the settings")
        return Check("state", True, "counters and cached answers are in reach")

    def _spool(self) -> Check:
        stats = self.stats
        waiting = f"{self.backlog_bytes()} bytes wait for the database"
        if not self.sink.accepting:
            return Check("spool", False, f"full or refused by the disk: no request is taken; {waiting}")
        put_aside = [
            f"{count} {what}"
            for count, what in (
                (stats.quarantine_records, "records in quarantine"),
                (stats.bodies_dropped, "logs without their bodies for want of room"),
            )
            if count
        ]
        return Check("spool", not put_aside, "; ".join(["taking records", waiting, *put_aside]))

    async def _database_and_clock(self) -> tuple[Check, Check]:
        now_ms = self.utc_ms()
        try:
            ((version, theirs_ms),) = await self.database.query(_DATABASE_SQL)
        except StorageUnavailable as error:
            why = " ".join(str(error).split())
            away = Check("database", False, f"cannot be reached ({why}); logs are kept in the spool until it is back")
            wrong = clock_problem(now_ms)
            return away, Check("clock", not wrong, wrong or "set; to be compared with the database's when that is back")
        apart_ms = abs(theirs_ms - now_ms)
        if apart_ms > _CLOCK_TOLERANCE_MS:
            clock = Check("clock", False, f"{apart_ms / 1000:.1f} s apart from the database's; set both by NTP")
        else:
            clock = Check("clock", True, "agrees with the database's")
        return Check("database", True, f"PostgreSQL {version}"), clock
