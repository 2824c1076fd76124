"""The process that workers belong to: it keeps what there is once, and what operators talk to."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw import __version__
from aigw.assembly.controls import open_controls
from aigw.assembly.greeting import first_token, greeting
from aigw.assembly.ground import Ground, hold_folder, open_ground
from aigw.assembly.listening import listen_all, stop_listening
from aigw.assembly.operators import open_control_socket
from aigw.assembly.steps import Steps
from aigw.assembly.together import all_uncounted, uncounted_gateway
from aigw.errors import ConfigurationError
from aigw.operations.meter import Meter
from aigw.operations.metrics import Levels, Metrics
from aigw.operations.resources import Operations, Readiness
from aigw.serving.http import Server
from aigw.settings import Settings
from aigw.storage.dsn import Dsn
from aigw.workers.copies import TokenNews
from aigw.workers.messages import FIRST_SOCKET, DatabaseStarted, TokensChanged, Welcome
from aigw.workers.pages import MetricsTogether, ReadyTogether, Together, report_of
from aigw.workers.reports import Report
from aigw.workers.sockets import HoldingReactor, share
from aigw.workers.supervisor import Supervisor

# Workers of a parent that was killed live a few seconds longer than it; then their spools are to be had.
ADOPT_S = 5.0


class Parent:
    """
    A gateway whose connections are served by workers.

    Args:
        reactor: Runs everything.
        settings: Of the gateway.
        say: Writes to whoever started the process; the first token goes there and nowhere else.
        give_up: Called with the reason when waiting will not help; the process should then end.

    Attributes:
        addresses: Of all ports, for people.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        say: Callable[[str], None],
        give_up: Callable[[Failure], None],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._say = say
        self._give_up = give_up
        self._steps = Steps()
        self._draining = False
        self._dsn = ""
        self._held: list[IListeningPort] = []
        self.addresses: list[str] = []

    async def boot(self) -> None:
        """
        Start everything, in order; fires when every worker serves.

        Raises:
            AigwError, OSError, CannotListenError: Why it cannot start. `drain` then stops what had started.
        """
        began = time.monotonic()
        settings, steps = self._settings, self._steps
        self._lock = hold_folder(settings.data_path())
        # Before the embedded database tells of itself.
        supervisor = self._supervisor = self._make_supervisor()
        ground = self._ground = open_ground(self._reactor, settings, steps, self._give_up, self._database_started)
        open_controls(ground)
        ground.gateways.also_check(partial(uncounted_gateway, settings))
        problems = all_uncounted(ground)
        if problems:
            raise ConfigurationError(problems)
        self._follow_tokens(ground)
        self._adopt_now_and_then(ground)
        together = Together(supervisor, self._report, lambda: self._draining, lambda: all_uncounted(ground))
        open_control_socket(ground, self.addresses, together)
        operators = await self._open_control_port(ground, together)
        applications = await self._hold_data_ports()
        steps.add(self._end_workers)
        await supervisor.start([port.fileno() for port in self._held])  # type: ignore[attr-defined]  # has a socket
        token = await first_token(self._reactor, ground.tokens, ground.database)
        took_s = time.monotonic() - began
        self._say(greeting(took_s, applications, operators, settings.data_path(), token, settings.processes()))

    def _make_supervisor(self) -> Supervisor:
        # The same reactor as here, which `twistd --reactor` may have chosen.
        command = [sys.executable, "-P", "-m", "aigw.worker", type(self._reactor).__module__]
        root = str(Path(__file__).resolve().parents[2])
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        return Supervisor(
            *(self._reactor, self._settings.processes(), command, environ, self._welcome, self._give_up),
            self._adopt,
        )

    def _adopt(self) -> None:
        self._ground.logs.adopt_dead()

    def _welcome(self) -> Welcome:
        settings, spool = self._settings, self._settings.spool
        # One disk for all of them.
        spool = msgspec.structs.replace(spool, spool_bytes=spool.spool_bytes // settings.processes())
        sockets = [
            share(port, endpoint, FIRST_SOCKET + index)
            for index, (port, endpoint) in enumerate(zip(self._held, settings.listen, strict=True))
        ]
        tokens = tuple(self._ground.tokens.entries())
        return Welcome(msgspec.structs.replace(settings, spool=spool), tokens, tuple(sockets), self._dsn)

    def _database_started(self, dsn: Dsn) -> None:
        self._dsn = dsn.text
        self._supervisor.tell(DatabaseStarted(dsn.text))

    def _follow_tokens(self, ground: Ground) -> None:
        news = TokenNews(ground.tokens)
        ground.tokens.on_changed(lambda: self._supervisor.tell(TokensChanged(news.take())))

    def _adopt_now_and_then(self, ground: Ground) -> None:
        adopting = LoopingCall(ground.logs.adopt_dead)
        adopting.clock = self._reactor
        adopting.start(ADOPT_S, now=False).addErrback(
            lambda failure: self._log.failure("spools of dead processes are adopted no more", failure)
        )
        self._steps.add_plain(adopting.stop)

    async def _open_control_port(self, ground: Ground, together: Together) -> list[str]:
        logs = ground.logs
        levels = Levels(
            *(lambda: 0, lambda: 0, lambda: ground.database.available, lambda: False, logs.backlog_bytes),
        )
        metrics = self._metrics = Metrics(Meter(()), logs.stats, levels, __version__)
        pages = Operations(Readiness(lambda: self._draining, logs.sink), metrics)
        pages.putChild(b"ready", ReadyTogether(together))
        pages.putChild(b"metrics", MetricsTogether(together))
        server = Server(pages, self._reactor, ground.wheel, self._settings.http)
        ports: list[IListeningPort] = []
        self._steps.add(lambda: stop_listening(ports))
        addresses = await listen_all(self._reactor, self._settings.control, server, "http", ports)
        self.addresses += addresses
        return addresses

    def _report(self) -> Report:
        """How the parent itself is doing; whether requests are taken is not its business."""
        logs = self._ground.logs
        return report_of(
            *(0, [], [], logs.sink.accepting, logs.backlog_bytes(), logs.stats, self._metrics.families()),
        )

    async def _hold_data_ports(self) -> list[str]:
        nothing: Factory[Any] = Factory()
        nothing.noisy = False
        holding = HoldingReactor(self._reactor)
        addresses = await listen_all(holding, self._settings.listen, nothing, "ws", self._held)
        self.addresses += addresses
        return addresses

    async def _end_workers(self) -> None:
        """Have them accept nothing more, finish, and end."""
        self._draining = True
        ended = self._supervisor.drain(self._settings.drain_s)
        await stop_listening(self._held)
        await ended

    async def drain(self) -> None:
        """Stop everything, in the opposite order of `boot`; a step that fails does not keep the others from theirs."""
        await self._steps.undo()

    def flush_now(self) -> None:
        """For an exit that waits for nothing else: workers whose parent is gone while they drain flush, and end."""
