"""
One process that is the whole gateway.

A node boots in the order of `Node.boot` and drains in the opposite order. Each is one coroutine, so that nothing starts
before what it stands on, and nothing stops while something stands on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from aigw.assembly.applications import Applications
from aigw.assembly.controls import open_controls
from aigw.assembly.garbage import spare_what_stays
from aigw.assembly.greeting import first_token, greeting
from aigw.assembly.ground import Ground, hold_folder, open_ground
from aigw.assembly.listening import listen_all, stop_listening
from aigw.assembly.operators import open_control_socket
from aigw.assembly.steps import Steps
from aigw.operations.resources import Operations
from aigw.serving.http import Server
from aigw.settings import Settings


class Node:
    """
    One process of the gateway.

    Args:
        reactor: Runs everything.
        settings: Of the process.
        say: Writes to whoever started the process; the first token goes there and nowhere else.
        give_up: Called with the reason when waiting will not help; the process should then end.

    Attributes:
        addresses: Of all ports, for people.
    """

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
        self._ground: Ground | None = None
        self.addresses: list[str] = []

    async def boot(self) -> None:
        """
        Start everything, in order; fires when the gateway serves.

        Raises:
            AigwError, OSError, CannotListenError: Why it cannot start. `drain` then stops what had started.
        """
        began = time.monotonic()
        settings, steps = self._settings, self._steps
        self._lock = hold_folder(settings.data_path())
        ground = self._ground = open_ground(self._reactor, settings, steps, self._give_up)
        applications = Applications(ground, open_controls(ground))
        open_control_socket(ground, self.addresses)
        pages = Server(
            Operations(applications.readiness, applications.metrics), self._reactor, ground.wheel, settings.http
        )
        operator_ports: list[IListeningPort] = []
        steps.add(lambda: stop_listening(operator_ports))
        operators = await self._listen(settings.control, pages, "http", operator_ports)
        data_ports: list[IListeningPort] = []
        steps.add(lambda: applications.finish(data_ports, settings.drain_s))
        served = await self._listen(settings.listen, applications.server, "ws", data_ports)
        token = await first_token(self._reactor, ground.tokens, ground.database)
        spare_what_stays(self._reactor, steps)
        self._say(greeting(time.monotonic() - began, served, operators, settings.data_path(), token))

    async def _listen(
        self, endpoints: tuple[str, ...], server: Server, scheme: str, ports: list[IListeningPort]
    ) -> list[str]:
        addresses = await listen_all(self._reactor, endpoints, server, scheme, ports)
        self.addresses += addresses
        return addresses

    async def drain(self) -> None:
        """Stop everything, in the opposite order of `boot`; a step that fails does not keep the others from theirs."""
        await self._steps.undo()

    def flush_now(self) -> None:
        """Write what the spool still holds in memory; for an exit that waits for nothing else."""
        if self._ground is not None:
            self._ground.logs.flush_now()
