"""The storm itself: what happens in which order, and what is put away afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any, Literal

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from aigw.testing.gateway import GatewayProcess
from tests.integration import metric
from tests.integration.crash.clients import PROVIDER, Crew
from tests.integration.crash.database import StormDatabase
from tests.integration.crash.disk import SpoolDisk
from tests.integration.crash.provider import StormProvider
from tests.integration.crash.tally import Tally, Verdict, judge

LOOK_S = 0.1
LOAD_S = 20.0
EVENT_S = 1.0
SETTLE_S = 60.0
DRAIN_S = 120.0
# One kill in five falls into the start that follows another.
KILLED_STARTS = 0.2


class BrokenPromise(Exception):
    """Something else than the counted numbers went wrong; the text says what."""


@attrs.frozen
class Plan:
    """
    Attributes:
        kills: How many.
        database: What it does meanwhile.
        disk_bytes: Size of the spool's disk.
        seed: Of everything that is random.
    """

    kills: int
    database: Literal["up", "down", "flap"]
    disk_bytes: int
    seed: int

    @property
    def limit_s(self) -> float:
        """When something hangs."""
        return 300.0 + 20.0 * self.kills


class Storm:
    """
    Args:
        reactor: Runs it.
        plan: See there.
        say: Tells how it goes.
    """

    def __init__(self, reactor: Any, plan: Plan, say: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._plan = plan
        self._say = say
        self._random = Random(plan.seed)
        # Folders that the database's unprivileged user can pass through.
        self._folder = Path(tempfile.mkdtemp(prefix="aigw-storm-"))
        self._folder.chmod(0o711)
        self._data_dir = self._folder / "gateway"
        self.tally = Tally()
        self._kills = 0
        self._token = ""
        self._gateway: GatewayProcess | None = None
        self._flapping: Deferred[None] | None = None
        self._flap_failure: Failure | None = None
        self._database = StormDatabase(reactor, self._folder, Random(plan.seed + 1))
        self._provider = StormProvider(reactor, self.tally)
        self._crew = Crew(reactor, Random(plan.seed + 2), self.tally, f"storm-{plan.seed}")
        self._disk = SpoolDisk(self._data_dir / "spool", plan.disk_bytes)

    async def run(self) -> Verdict:
        """
        Raise the storm, let it calm down, and count.

        Raises:
            BrokenPromise: See there.
        """
        self._say(f"storm in {self._folder}: {self._disk}")
        await self._database.up()
        await self._start()
        self._token = self._gateway.token if self._gateway else ""
        self._say(f"{self._plan.kills} kills to come, database {self._plan.database}, seed {self._plan.seed}")
        if self._plan.database == "down":
            await self._database.down()
        elif self._plan.database == "flap":
            self._flapping = Deferred.fromCoroutine(self._database.flap(self._raging))
            self._flapping.addErrback(self._flap_failed)
        while self._raging():
            await self._strike()
        await self._calm()
        verdict = await deferToThread(judge, self.tally, self._database.dsn)
        for text in self.tally.garbled[:10]:
            self._say(f"garbled: {text}")
        self._say(
            f"kills={self._kills} database_blows={self._database.blows} asked={self.tally.asked}"
            f" seen={len(self.tally.seen)} finals={len(self.tally.finals)} rows={verdict.rows}"
            f" refused={self.tally.refused}"
        )
        return verdict

    def _raging(self) -> bool:
        return self._kills < self._plan.kills

    def _flap_failed(self, failure: Failure) -> None:
        failure.trap(Exception)
        self._flap_failure = failure

    # Gateway ----------------------------------------------------------------------------------------------------------

    def _spawn(self) -> GatewayProcess:
        config = f'[providers.{PROVIDER}]\nbase_url = "{self._provider.url}"\n{self._disk.config}'
        options = ["--database", self._database.dsn]
        self._gateway = GatewayProcess.spawn(self._reactor, self._data_dir, options, config)
        return self._gateway

    async def _start(self) -> None:
        gateway = await self._spawn().ready()
        self._crew.begin(gateway.url, self._token or gateway.token)

    async def _kill(self) -> None:
        self._crew.lost()
        self._kills += 1
        if self._gateway is not None:
            await self._gateway.stop(SIGKILL)

    async def _strike(self) -> None:
        """Kill while streams run, at any moment or upon an event, now and then also the next start; start again."""
        await self._until(lambda: self._crew.in_flight > 0, LOAD_S, "no client got through")
        await self._wait(0.05, 1.0)
        event = self._random.choice(("final", "seen", "any"))
        gateway = self._gateway
        if event != "any" and gateway is not None:
            self.tally.arm(event, partial(gateway.signal, SIGKILL))
            # With the spool full, neither may ever come.
            await self._holds(lambda: gateway.code is not None, EVENT_S)
        await self._kill()
        while self._raging() and self._random.random() < KILLED_STARTS:
            self._spawn()
            await self._wait(0.2, 2.0)
            await self._kill()
        await self._start()

    # The end ----------------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """Everything up again; then nothing may be left in the spool."""
        if self._flapping is not None:
            await self._flapping
            if self._flap_failure is not None:
                self._flap_failure.raiseException()
        await self._wait(0.5, 0.5)
        await self._database.up()
        before = len(self.tally.finals)
        await self._until(lambda: len(self.tally.finals) > before, SETTLE_S, "no request is served after the storm")
        self._crew.asking = False
        await self._until(lambda: self._crew.in_flight == 0, SETTLE_S, "requests without an ending")
        await self._drained()
        self._crew.lost()
        code = await self._gateway.stop() if self._gateway else 0
        if code:
            raise BrokenPromise(f"SIGTERM after the storm ended with code {code}: {self._last_words()}")

    async def _drained(self) -> None:
        deadline = self._reactor.seconds() + DRAIN_S
        control_url = self._gateway.control_url if self._gateway else ""
        while True:
            waiting = await metric(self._reactor, control_url, "aigw_log_backlog_bytes")
            refused = await metric(self._reactor, control_url, "aigw_log_quarantine_records")
            if not waiting and not refused:
                return
            if self._reactor.seconds() > deadline:
                raise BrokenPromise(f"the spool still holds {waiting:.0f} bytes, and {refused:.0f} records aside")
            await deferLater(self._reactor, LOOK_S)

    async def _until(self, condition: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        if not await self._holds(condition, limit_s):
            raise BrokenPromise(f"{otherwise}: {self._last_words()}")

    async def _holds(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until something holds; whether it did in time."""
        deadline = self._reactor.seconds() + limit_s
        while not condition():
            if self._reactor.seconds() > deadline:
                return False
            await deferLater(self._reactor, LOOK_S)
        return True

    async def _wait(self, least_s: float, most_s: float) -> None:
        await deferLater(self._reactor, self._random.uniform(least_s, most_s))

    def _last_words(self) -> str:
        return self._gateway.output[-2000:] if self._gateway else "there is no gateway"

    async def close(self) -> None:
        """Leave no process, no mount and no file, wherever the storm was interrupted."""
        self._crew.end()
        if self._flapping is not None:
            self._flapping.addErrback(lambda failure: failure.trap(CancelledError))
            self._flapping.cancel()
            await self._flapping
        if self._gateway is not None:
            await self._gateway.stop(SIGKILL)
        await self._provider.close()
        await self._database.close()
        self._disk.close()
        shutil.rmtree(self._folder, ignore_errors=True)
