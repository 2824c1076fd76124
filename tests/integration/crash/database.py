"""The database of the storm: up, down, or killed, frozen and stopped in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

import psycopg2
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.postmaster import end_processes, processes_of
from aigw.storage.settings import EmbeddedSettings
from aigw.testing.elsewhere import elsewhere

REACH_S = 60.0
LOOK_S = 0.2


class StormDatabase:
    """
    A PostgreSQL that the storm owns.

    Args:
        reactor: Runs it.
        folder: For its files; an unprivileged user must be able to pass through.
        random: Decides.
    Attributes:
        dsn: How to reach it.
        blows: What was done to it.
    """

    def __init__(self, reactor: Any, folder: Path, random: Random) -> None:
        self.dsn = ""
        self.blows = 0
        self._reactor = reactor
        self._random = random
        self._cluster = folder / "postgres" / "data"
        # A killed server loses nothing that it has handed to the kernel; only a killed machine would.
        self._server = EmbeddedPostgres(reactor, folder, EmbeddedSettings(elsewhere=elsewhere(), sync=False))
        self._runs = False

    async def up(self) -> None:
        """Have it run and answer, whatever was done to it."""
        self._signal(SIGCONT)
        if not self._runs:
            self.dsn = (await self._server.start()).text
            self._runs = True
        deadline = self._reactor.seconds() + REACH_S
        while not await deferToThread(_answers, self.dsn):
            if self._reactor.seconds() > deadline:
                raise TimeoutError("the storm's own database does not come back")
            await deferLater(self._reactor, LOOK_S)

    async def down(self) -> None:
        """Stop it in good order."""
        self._runs = False
        await self._server.stop()

    async def flap(self, more: Callable[[], bool]) -> None:
        """Strike it again and again, while there is to be more."""
        while more():
            await self._wait(0.3, 3.0)
            self.blows += 1
            blow = self._random.choice((self._kill, self._freeze, self._stop))
            await blow()

    async def close(self) -> None:
        """End it, whatever was interrupted."""
        await self._server.stop()
        await end_processes(self._reactor, self._cluster, 1.0)

    async def _kill(self) -> None:
        # It is started again by its keeper, as by any service manager.
        self._signal(SIGKILL)
        await self._wait(1.0, 2.0)

    async def _freeze(self) -> None:
        self._signal(SIGSTOP)
        await self._wait(0.5, 4.0)
        self._signal(SIGCONT)

    async def _stop(self) -> None:
        await self.down()
        await self._wait(0.5, 3.0)
        await self.up()

    def _signal(self, number: int) -> None:
        for pid in processes_of(self._cluster):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    async def _wait(self, least_s: float, most_s: float) -> None:
        await deferLater(self._reactor, self._random.uniform(least_s, most_s))


def _answers(dsn: str) -> bool:
    try:
        connection = psycopg2.connect(dsn, connect_timeout=2)
    except psycopg2.Error:
        return False
    connection.close()
    return True
