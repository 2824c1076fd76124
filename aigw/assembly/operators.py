"""What operators talk to: the `aigw` command on the control socket, and the control port."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from aigw import __version__
from aigw.assembly.ground import Ground
from aigw.assembly.steps import utc_ms
from aigw.assembly.together import check_workers, uncounted, uncounted_policies
from aigw.management.checks import Check, Doctor
from aigw.management.control_socket import ControlSocket
from aigw.management.gateway_calls import GatewayCalls
from aigw.management.internal_api import InternalAPI, Management
from aigw.management.log_calls import LogCalls
from aigw.management.policies import ManagedPolicies
from aigw.management.policy_calls import PolicyCalls
from aigw.management.spool_calls import SpoolCalls
from aigw.management.team_calls import TeamCalls
from aigw.management.token_calls import TokenCalls
from aigw.serving.http import Server
from aigw.workers.pages import Together


def open_control_socket(ground: Ground, addresses: Sequence[str], together: Together | None = None) -> None:
    """
    Listen for the `aigw` command.

    Args:
        ground: What it looks at and changes.
        addresses: Of all ports; filled as they are opened.
        together: The workers; None where this is the only process.
    Raises:
        AlreadyRunning, OSError, CannotListenError: The folder takes no socket.
    """
    settings, logs, gateways = ground.settings, ground.logs, ground.gateways
    also_check = partial(uncounted, settings)
    management = Management(
        TokenCalls(ground.tokens, ground.teams, utc_ms, also_check),
        LogCalls(logs.list, logs.show),
        SpoolCalls(logs.adopt),
        lambda: _about(ground, addresses, together),
        partial(_examine, ground, addresses, together),
        policies=_policy_calls(ground),
        gateways=GatewayCalls(gateways, ground.policies),
        teams=TeamCalls(ground.team_documents, ground.tokens, utc_ms, also_check),
    )
    server = Server(InternalAPI(management), ground.reactor, ground.wheel, settings.http)
    control = ControlSocket(ground.reactor, settings.data_path(), server)
    control.start()
    ground.steps.add(control.stop)


def _policy_calls(ground: Ground) -> PolicyCalls:
    return PolicyCalls(
        ManagedPolicies(
            ground.policies,
            lambda account, name: ground.gateways.find(account, name) is not None,
            lambda: int(time.time()),
            lambda: str(uuid.uuid4()),
            partial(uncounted_policies, ground.settings),
        )
    )


async def _examine(ground: Ground, addresses: Sequence[str], together: Together | None) -> list[Check]:
    """What `aigw doctor` finds; of the spools of all processes, where there are several."""
    logs, workers = ground.logs, None
    sink: Any = logs.sink
    stats, backlog_bytes = logs.stats, logs.backlog_bytes
    if together is not None:
        await together.supervisor.ask()
        sink, stats, backlog_bytes = together, together.log_stats(), together.backlog_bytes
        workers = partial(check_workers, together)
    doctor = Doctor(
        *(ground.settings.data_path(), lambda: addresses, ground.database, sink, stats, backlog_bytes),
        *(utc_ms, ground.gateways, ground.state.away, workers),
    )
    return await doctor()


def _about(ground: Ground, addresses: Sequence[str], together: Together | None) -> dict[str, Any]:
    workers = {} if together is None else {"workers": [each.pid for each in together.supervisor.serving()]}
    return {
        **workers,
        "version": __version__,
        "pid": os.getpid(),
        "addresses": addresses,
        "gateways": [f"{gateway.account}/{gateway.id}" for gateway in ground.gateways.all()],
    }
