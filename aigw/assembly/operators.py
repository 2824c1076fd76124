"""What operators talk to: the `aigw` command on the control socket, and the control port."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from typing import Any

from aigw import __version__
from aigw.assembly.ground import Ground
from aigw.assembly.steps import utc_ms
from aigw.management.checks import Doctor
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


def open_control_socket(ground: Ground, addresses: Sequence[str]) -> None:
    """
    Listen for the `aigw` command.

    Args:
        ground: What it looks at and changes.
        addresses: Of all ports; filled as they are opened.
    Raises:
        AlreadyRunning, OSError, CannotListenError: The folder takes no socket.
    """
    settings, logs, gateways = ground.settings, ground.logs, ground.gateways
    doctor = Doctor(
        *(settings.data_path(), lambda: addresses, ground.database, logs.sink, logs.stats, logs.backlog_bytes),
        *(utc_ms, gateways, ground.state.away),
    )
    management = Management(
        TokenCalls(ground.tokens, ground.teams, utc_ms),
        LogCalls(logs.list, logs.show),
        SpoolCalls(logs.adopt),
        lambda: _about(ground, addresses),
        doctor,
        policies=_policy_calls(ground),
        gateways=GatewayCalls(gateways, ground.policies),
        teams=TeamCalls(ground.team_documents, ground.tokens, utc_ms),
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
        )
    )


def _about(ground: Ground, addresses: Sequence[str]) -> dict[str, Any]:
    return {
        "version": __version__,
        "pid": os.getpid(),
        "addresses": addresses,
        "gateways": [f"{gateway.account}/{gateway.id}" for gateway in ground.gateways.all()],
    }
