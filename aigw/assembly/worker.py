"""One of the processes behind a gateway's ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.assembly.applications import Applications
from aigw.assembly.controls import open_controls
from aigw.assembly.database import use_database
from aigw.assembly.garbage import spare_what_stays
from aigw.assembly.ground import Ground, open_ground
from aigw.assembly.listening import listen
from aigw.assembly.steps import Steps
from aigw.storage.dsn import read_dsn
from aigw.workers.messages import (
    DatabaseStarted,
    Serving,
    SharedSocket,
    Tell,
    TokensChanged,
    ToParent,
    ToWorker,
    Welcome,
)
from aigw.workers.pages import report_of
from aigw.workers.sockets import AcceptingReactor

# What is lost of a worker's counters when it is killed.
REPORT_EVERY_S = 1.0


class ServingNode:
    """
    A worker.

    Args:
        reactor: Runs everything.
        welcome: From the parent.
        send: Tells the parent something.
        give_up: Called with the reason when waiting will not help; the process should then end.
        idle: Whether the parent reads what it is told.

    Attributes:
        drain_s: What requests get to finish.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        welcome: Welcome,
        send: Callable[[ToParent], None],
        give_up: Callable[[Failure], None],
        idle: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._welcome = welcome
        self._send = send
        self._give_up = give_up
        self._idle = idle
        self._steps = Steps()
        self._ports: list[IListeningPort] = []
        self._ground: Ground | None = None
        self.drain_s = welcome.settings.drain_s

    async def boot(self) -> None:
        """
        Start everything, in order; fires when it accepts connections.

        Raises:
            AigwError, OSError, CannotListenError: Why it cannot start. `drain` then stops what had started.
        """
        welcome, steps = self._welcome, self._steps
        ground = open_ground(self._reactor, welcome.settings, steps, self._give_up, told=welcome.tokens)
        self._ground = ground
        self._use_database(ground, welcome.dsn)
        self._applications = Applications(ground, open_controls(ground))
        steps.add(lambda: self._applications.finish(self._ports, self.drain_s))
        for shared in welcome.sockets:
            self._ports.append(await self._accept(shared))
        reporting = LoopingCall(self._report_if_read)
        reporting.clock = self._reactor
        reporting.start(REPORT_EVERY_S).addErrback(lambda failure: self._log.failure("no more reports", failure))
        steps.add_plain(reporting.stop)
        spare_what_stays(self._reactor, steps)
        self._send(Serving())

    def hear(self, message: ToWorker) -> None:
        """What the parent says after its welcome."""
        ground = self._ground
        if ground is None:
            return
        if isinstance(message, Tell):
            self._report(message.round)
        elif isinstance(message, TokensChanged):
            ground.tokens.adopt(message.tokens)
        elif isinstance(message, DatabaseStarted):
            self._use_database(ground, message.dsn)

    def _use_database(self, ground: Ground, dsn: str) -> None:
        if dsn:
            use_database(self._reactor, ground.settings, ground.database, read_dsn(dsn))

    async def _accept(self, shared: SharedSocket) -> IListeningPort:
        reactor, server = AcceptingReactor(self._reactor, shared), self._applications.server
        if shared.endpoint.startswith("systemd:"):
            # What it names is in the environment of the parent only.
            return reactor.accept(server)
        return await listen(reactor, shared.endpoint, server)

    def _report_if_read(self) -> None:
        if self._idle():
            self._report(0)

    def _report(self, asked: int) -> None:
        ground, applications = self._ground, self._applications
        if ground is None:
            return
        logs, readiness = ground.logs, applications.readiness
        self._send(
            report_of(
                *(asked, readiness.reasons(), readiness.degraded(), logs.sink.accepting, logs.backlog_bytes()),
                *(logs.stats, applications.metrics.families()),
            )
        )

    async def drain(self) -> None:
        """Stop everything, in the opposite order of `boot`; a step that fails does not keep the others from theirs."""
        await self._steps.undo()

    def flush_now(self) -> None:
        """Write what the spool still holds in memory; for an exit that waits for nothing else."""
        if self._ground is not None:
            self._ground.logs.flush_now()
