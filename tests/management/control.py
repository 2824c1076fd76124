"""A control socket with a gateway's worth of calls behind it, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import execute
from twisted.internet.threads import deferToThread

from aigw.codecs.gateway_document import read_stored
from aigw.controls.policy_rulings import read_rulings
from aigw.controls.teams import Teams, read_team
from aigw.controls.token_file import TokenFile
from aigw.controls.tokens import Tokens
from aigw.dispatch.gateways import Gateways
from aigw.errors import ConfigurationError, StorageUnavailable
from aigw.logs.filters import LogFilters
from aigw.management.control_client import ControlClient
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
from aigw.serving.limits import HttpLimits
from aigw.serving.wheel import Wheel
from aigw.testing.documents import MemoryDocuments
from aigw.values.gateway import Gateway
from aigw.values.ids import id_text

NOW_MS = 1_800_000_000_000
LOG_IDS = [bytes([1, 0x8F]) + bytes([number]) * 14 for number in range(9, 0, -1)]


class Control:
    """
    Listens on a data folder's control socket.

    Args:
        data_dir: Where the socket and the tokens are.

    Attributes:
        tokens: Real ones.
        teams: Kept in memory.
        documents: Of gateways; kept in memory.
        gateways: `fixed` is declared in the settings file.
        policies: Of all gateways.
        logs: By id, newest first.
        filters: Of the last list of logs that was asked for.
        log_fault: What a list of logs fails with.
        database_away: Whether the logs cannot be reached.
        doctor: Gives the checks.
        adopt: Takes in a folder of spools.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.data_dir = data_dir
        self.database_away = False
        self.filters = LogFilters()
        self.log_fault: Exception | None = None
        self.logs: dict[bytes, dict[str, Any]] = {log_id: {"id": id_text(log_id)} for log_id in LOG_IDS}
        self.tokens = Tokens(TokenFile(data_dir / "tokens.json", execute), lambda: NOW_MS)
        self.teams = MemoryDocuments(read_team, lambda: NOW_MS)
        self.documents = MemoryDocuments(read_stored, lambda: NOW_MS)
        self.gateways = Gateways([Gateway(id="fixed")], self.documents)
        self.policies = MemoryDocuments(read_rulings, lambda: NOW_MS)
        numbers = count(1)
        managed = ManagedPolicies(
            self.policies,
            lambda account, name: self.gateways.find(account, name) is not None,
            lambda: NOW_MS // 1000,
            lambda: f"policy-{next(numbers)}",
        )
        self.doctor: Callable[[], Awaitable[object]] = self._healthy
        self.adopt: Callable[[Path], Awaitable[int]] = self._no_spool
        management = Management(
            tokens=TokenCalls(self.tokens, Teams(self.teams), lambda: NOW_MS),
            logs=LogCalls(self._list_logs, self._show_log),
            spools=SpoolCalls(self._adopt),
            about=lambda: {"version": "0", "addresses": ["ws://127.0.0.1:1"]},
            doctor=self._run_doctor,
            gateways=GatewayCalls(self.gateways, self.policies),
            policies=PolicyCalls(managed),
            teams=TeamCalls(self.teams, self.tokens, lambda: NOW_MS),
        )
        limits = HttpLimits(connections=10, body_bytes=4_096)
        self.socket = ControlSocket(reactor, data_dir, Server(InternalAPI(management), reactor, Wheel(reactor), limits))

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """What the command gets for a call."""
        return await deferToThread(ControlClient(self.data_dir).call, method, path, body)

    def _run_doctor(self) -> Awaitable[object]:
        return self.doctor()

    def _adopt(self, path: Path) -> Awaitable[int]:
        return self.adopt(path)

    async def _no_spool(self, path: Path) -> int:
        raise ConfigurationError([f"{path} holds no spool"])

    async def _healthy(self) -> object:
        return [{"name": "ports", "ok": True, "text": "fine"}]

    async def _list_logs(self, limit: int, before: bytes | None, filters: LogFilters) -> list[dict[str, Any]]:
        self.filters = filters
        if self.database_away:
            raise StorageUnavailable("postgresql://me:sesame@host")
        if self.log_fault is not None:
            raise self.log_fault
        return [log for log_id, log in self.logs.items() if before is None or log_id < before][:limit]

    async def _show_log(self, log_id: bytes) -> dict[str, Any] | None:
        return self.logs.get(log_id)
