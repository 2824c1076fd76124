"""
The composition root: the only file that knows every concrete class.

A node boots in the order of `Node.boot` and drains in the opposite order. Each is one coroutine, so that nothing starts
before what it stands on, and nothing stops while something stands on it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw import __version__
from aigw.codecs.gateway_document import read_stored
from aigw.controls.alerts import Alerts
from aigw.controls.callers import Callers
from aigw.controls.embeddings import Embeddings
from aigw.controls.identity import Identity
from aigw.controls.master_key import FILE_NAME, ensure_master_key
from aigw.controls.minted import Minter
from aigw.controls.policies import Policies
from aigw.controls.policy_rulings import read_rulings
from aigw.controls.rebuild import Rebuild
from aigw.controls.semantic_cache import SemanticCaches
from aigw.controls.stage_counts import StageCounts
from aigw.controls.teams import KIND, Teams, read_team
from aigw.controls.token_file import TokenFile
from aigw.controls.token_sync import CHANNEL, TokenSync, sync
from aigw.controls.tokens import Tokens
from aigw.dispatch.admission import make_controls
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.gateways import Gateways
from aigw.dispatch.parts import Parts
from aigw.errors import AigwError, ConfigurationError, StorageUnavailable
from aigw.logs.ledger import load_ledger
from aigw.logs.service import LogService
from aigw.management.checks import Doctor
from aigw.management.control_socket import AlreadyRunning, ControlSocket
from aigw.management.gateway_calls import GatewayCalls
from aigw.management.internal_api import InternalAPI, Management
from aigw.management.log_calls import LogCalls
from aigw.management.policies import ManagedPolicies
from aigw.management.policy_calls import PolicyCalls
from aigw.management.spool_calls import SpoolCalls
from aigw.management.team_calls import TeamCalls
from aigw.management.token_calls import TokenCalls
from aigw.operations.control_metrics import ControlMetrics
from aigw.operations.meter import Meter
from aigw.operations.metrics import Levels, Metrics
from aigw.operations.resources import Operations, Readiness
from aigw.providers.credentials import CredentialParts
from aigw.providers.pricing import Prices
from aigw.providers.table import MODULES, ProviderTable
from aigw.serving.http import Server
from aigw.serving.patience import at_most
from aigw.serving.turn import Turn
from aigw.serving.websocket import GatewaySocketFactory
from aigw.serving.wheel import Wheel
from aigw.settings import Settings
from aigw.state.stores import State, open_state
from aigw.storage.database import Database
from aigw.storage.document_file import DocumentFile
from aigw.storage.documents import Documents, Read
from aigw.storage.dsn import Dsn, read_dsn
from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.late import LateDatabase
from aigw.storage.partitions import ensure_partitions
from aigw.storage.semantic_answers import SemanticAnswers
from aigw.upstream.outbound import Outbound
from aigw.upstream.upstream import Upstream
from aigw.values.ids import LogIds
from aigw.values.token import SCOPES
from aigw.wire.data_port import DataPort
from aigw.wire.entry import Door
from aigw.wire.http_routes import HttpRoutes
from aigw.wire.minting import Minting

T = TypeVar("T")

# How long the first start waits to hear whether the database knows any token.
FIRST_TOKEN_S = 3.0
POSTGRES_RETRY_S = 5.0
CLOSE_S = 2.0


def utc_ms() -> int:
    """The wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Node:
    """
    One process of the gateway.

    Args:
        reactor: Runs everything.
        settings: Of the process.
        say: Writes to whoever started the process; the first token goes there and nowhere else.
        give_up: Called with the reason when waiting will not help; the process should then end.
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
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self._data_ports: list[IListeningPort] = []
        self._logs: LogService | None = None
        self.addresses: list[str] = []

    # Boot -----------------------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """
        Start everything, in order; fires when the gateway serves.

        Raises:
            AigwError, OSError, CannotListenError: Why it cannot start. `drain` then stops what had started.
        """
        began = time.monotonic()
        reactor, settings = self._reactor, self._settings
        self._prepare_folder()
        wheel = Wheel(reactor)
        turn = Turn(reactor)
        logs = self._logs = LogService(
            reactor, settings.data_path() / "spool", settings.spool, settings.shipper, turn=turn
        )
        # The logs are closed before the database: closing them ships what is left.
        database = self._open_database()
        logs.open()
        self._undo.append(logs.close)
        logs.ship_to(database, ensure_partitions)
        state = open_state(settings.state, reactor, database, utc_ms)
        state.start()
        self._undo.append(state.stop)
        tokens = self._open_tokens(database)
        upstream = Upstream(reactor, wheel, settings.upstream, time.time, settings.realtime)
        self._undo.append(upstream.close)

        outbound = Outbound(upstream)
        making = CredentialParts(outbound, time.time, time.monotonic)
        providers = ProviderTable(settings.providers, making)
        prices = Prices(lambda slug: providers.lookup(slug).prices, lambda: datetime.now(UTC))
        deferToThread(prices.warm).addErrback(lambda failure: self._log.failure("no price list", failure))
        meter = Meter([*MODULES, *settings.providers])
        gateways = self._open_gateways(database)
        policies = self._open_documents("policies", database, read_rulings)
        alerts = Alerts(state.counters, outbound, reactor)
        self._undo.append(partial(_call, alerts.stop))
        counts = StageCounts()
        controls = make_controls(
            *(state.counters, state.cache, utc_ms, gateways.version, settings.estimates),
            *(Policies(policies, counts), counts, partial(reactor.callLater, 0), alerts),
            lambda keys: SemanticCaches(
                SemanticAnswers(database), Embeddings(outbound, os.environ), keys, wheel.schedule, time.monotonic
            ),
        )
        self._follow_semantic_caches(gateways, controls.semantic)
        self._rebuild_budgets(state, logs, database)
        parts = Parts(
            *(upstream, logs.sink, prices.cost_nanousd, time.monotonic, meter, settings.exchange, controls),
            *(wheel.schedule, partial(reactor.callLater, 0), upstream.realtime),
        )
        dispatcher = Dispatcher(parts, providers, LogIds(utc_ms))
        sockets = GatewaySocketFactory(reactor, reactor, wheel, settings.websocket, turn)
        team_documents = self._open_documents(KIND, database, read_team)
        teams = Teams(team_documents)
        minter = Minter((settings.data_path() / FILE_NAME).read_bytes(), tokens, utc_ms)
        identity = Identity(settings.identity, outbound, reactor)
        identity.start()
        self._undo.append(partial(_call, identity.stop))
        door = Door(gateways, Callers(tokens, teams, minter, identity), utc_ms, settings.front.country_header)
        routes = HttpRoutes(
            *(door, dispatcher, providers, wheel, settings.front, settings.websocket.steps),
            settings.exchange.log_body_bytes,
            settings.websocket.allowed_origins,
        )
        port = DataPort(door, dispatcher, routes, sockets, meter.refused, Minting(door, minter))
        tokens.on_revoked(lambda token: port.close_token(token.id))

        management = Management(
            TokenCalls(tokens, teams, utc_ms),
            LogCalls(logs.list, logs.show),
            SpoolCalls(logs.adopt),
            lambda: self._about(gateways),
            Doctor(
                settings.data_path(),
                lambda: self.addresses,
                *(database, logs.sink, logs.stats, logs.backlog_bytes, utc_ms, gateways),
            ),
            policies=PolicyCalls(
                ManagedPolicies(
                    policies,
                    lambda account, name: gateways.find(account, name) is not None,
                    lambda: int(time.time()),
                    lambda: str(uuid.uuid4()),
                )
            ),
            gateways=GatewayCalls(gateways),
            teams=TeamCalls(team_documents, tokens, utc_ms),
        )
        control = ControlSocket(
            reactor, settings.data_path(), Server(InternalAPI(management), reactor, wheel, settings.http)
        )
        control.start()
        self._undo.append(control.stop)

        data = Server(port.resource(), reactor, wheel, settings.http, port.admit, port.refuse)
        control_metrics = ControlMetrics(controls, state.counters, state.cache, alerts)
        readiness = Readiness(lambda: dispatcher.draining, logs.sink, control_metrics.degraded)
        levels = Levels(
            lambda: sockets.open_sockets,
            lambda: len(data.channels),
            lambda: database.available,
            lambda: not readiness.reasons(),
            logs.backlog_bytes,
        )
        operations = Operations(readiness, Metrics(meter, logs.stats, levels, __version__, control_metrics))
        operators = await self._listen(settings.control, Server(operations, reactor, wheel, settings.http), "http")
        self._undo.append(lambda: self._finish_exchanges(dispatcher, port, data))
        applications = await self._listen(settings.listen, data, "ws", self._data_ports)
        first_token = await self._first_token(tokens, database)
        self._greet(time.monotonic() - began, applications, operators, first_token)

    def _prepare_folder(self) -> None:
        folder = self._settings.data_path()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The kernel lets go of the lock when the process is gone, however it went.
        self._lock = os.open(folder / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"A gateway is running on {folder} already") from None
        ensure_master_key(folder)

    def _open_database(self) -> LateDatabase:
        database = LateDatabase()
        self._undo.append(database.stop)
        # Only the first answer can end the process: one whose database was migrated by a newer release, while it ran,
        # goes on serving with its logs in the spool.
        database.reached().addErrback(self._unreached)
        if self._settings.database is not None:
            self._use_database(read_dsn(self._settings.database), database)
        else:
            postgres = EmbeddedPostgres(self._reactor, self._settings.data_path(), self._settings.postgres)
            starting = Deferred.fromCoroutine(self._start_postgres(postgres, database))
            starting.addErrback(lambda failure: failure.trap(CancelledError))
            # Behind the connections in the stack, so that it stops after them.
            self._undo.insert(-1, lambda: _cancel_then(starting, postgres.stop))
        return database

    def _use_database(self, dsn: Dsn, database: LateDatabase) -> None:
        real = Database(self._reactor, dsn, self._settings.pool)
        real.start()
        database.arrived(real)

    def _unreached(self, failure: Failure) -> None:
        """The database will not do, as it is, or the process stops before it has answered."""
        if failure.check(StorageUnavailable) is None:
            self._give_up(failure)

    async def _start_postgres(self, postgres: EmbeddedPostgres, database: LateDatabase) -> None:
        """Start the embedded server; whatever stands in its way, the gateway serves and its logs wait in the spool."""
        while True:
            try:
                dsn = await postgres.start()
                break
            except (AigwError, OSError) as error:
                self._log.error("PostgreSQL could not be started, logs wait in the spool: {error}", error=error)
                await deferLater(self._reactor, POSTGRES_RETRY_S)
        self._use_database(dsn, database)

    def _open_tokens(self, database: LateDatabase) -> Tokens:
        file = TokenFile(self._settings.data_path() / "tokens.json", deferToThread)
        tokens = Tokens(file, utc_ms)
        sync = TokenSync(tokens, database)
        sync.start()
        database.listen(CHANNEL, lambda _: sync.run())
        return tokens

    def _open_gateways(self, database: LateDatabase) -> Gateways:
        return Gateways(self._settings.gateway, self._open_documents("gateway", database, read_stored))

    def _open_documents(self, kind: str, database: LateDatabase, read: Read[T]) -> Documents[T]:
        file = DocumentFile(self._settings.data_path() / f"{kind}.json", deferToThread)
        documents = Documents(kind, database, file, read, self._reactor)
        documents.start()
        self._undo.append(partial(_call, documents.stop))
        return documents

    def _follow_semantic_caches(self, gateways: Gateways, semantic: SemanticCaches | None) -> None:
        """What a semantic cache needs is looked for when its gateway is saved, and now for those that are there."""
        if semantic is None:
            return
        gateways.also_check(semantic.check)
        for gateway in gateways.all():
            preparing = Deferred.fromCoroutine(semantic.prepare(gateway))
            # It is told in the log and in `/ready`, and tried again later.
            preparing.addErrback(lambda failure: failure.trap(ConfigurationError, StorageUnavailable))

    def _rebuild_budgets(self, state: State, logs: LogService, database: LateDatabase) -> None:
        """Where counters forget what was spent before this process began, read it back from the ledger."""
        if state.to_rebuild is not None:
            load = partial(load_ledger, database, logs.spool_id)
            rebuild = Rebuild(state.to_rebuild, logs.older_spools_shipped, load, self._reactor)
            rebuild.start()
            self._undo.append(partial(_call, rebuild.stop))

    async def _listen(
        self, endpoints: tuple[str, ...], server: Server, scheme: str, ports: list[IListeningPort] | None = None
    ) -> list[str]:
        """Listen on every endpoint; the addresses for people, such as `ws://127.0.0.1:8787`."""
        addresses = []
        for endpoint in endpoints:
            port = await serverFromString(self._reactor, endpoint).listen(server)
            if ports is None:
                self._undo.append(partial(_stop_listening, port))
            else:
                ports.append(port)
            addresses.append(_shown_address(port, f"{scheme}s" if endpoint.startswith("ssl:") else scheme))
        self.addresses += addresses
        return addresses

    async def _first_token(self, tokens: Tokens, database: LateDatabase) -> str:
        """
        The token of the very first start: none is there, and the database, should it be in reach, knows none either.

        Returns:
            Its text; empty when there are tokens, or nobody would read it.
        """
        if tokens.all():
            return ""
        if _is_null(1):
            self._log.warn("There is no token yet, and nobody to show one to; make one: aigw token create")
            return ""
        # A node that joins others must not print a token of every scope merely because the database was slow.
        comparing = Deferred.fromCoroutine(self._compare_tokens(tokens, database))
        comparing.addErrback(lambda failure: self._log.info("the database told no tokens", failure=failure))
        await at_most(self._reactor, comparing, FIRST_TOKEN_S)
        if tokens.all():
            return ""
        return (await tokens.create("first", SCOPES, "local", None, None)).text

    async def _compare_tokens(self, tokens: Tokens, database: LateDatabase) -> None:
        await database.reached()
        await sync(tokens, database)

    def _greet(self, took_s: float, applications: list[str], operators: list[str], token: str) -> None:
        lines = [f"aigw {__version__} is ready ({took_s:.1f} s)"]
        lines += [f"  applications  {address}/v1/local/default" for address in applications]
        lines += [f"  operators     {address}  (/health, /ready, /metrics)" for address in operators]
        lines.append(f"  data          {self._settings.data_path()}")
        if token:
            command = shutil.which("aigw", path=os.path.dirname(sys.argv[0])) or "aigw"
            lines += [
                f"  token         {token}  (every scope; shown this once)",
                "",
                "Paste this into a second terminal for a streamed answer:",
                f'  {command} chat --url {applications[0]}/v1/local/default --token {token} "Tell me about tides."',
                "",
            ]
        self._say("\n".join(lines) + "\n")

    def _about(self, gateways: Gateways) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "addresses": self.addresses,
            "gateways": [f"{gateway.account}/{gateway.id}" for gateway in gateways.all()],
        }

    # Drain ----------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Stop everything, in the opposite order of `boot`; a step that fails does not keep the others from theirs."""
        while self._undo:
            step = self._undo.pop()
            try:
                await step()
            except Exception:
                self._log.failure("a part of the gateway did not stop in order")

    async def _finish_exchanges(self, dispatcher: Dispatcher, port: DataPort, server: Server) -> None:
        """Accept nothing more, let what runs finish for `drain_s`, end the rest, and close every socket with 1001."""
        dispatcher.draining = True
        for listening in self._data_ports:
            await _stop_listening(listening)
        server.drain()
        port.drain()
        await self._at_most(dispatcher.when_idle(), self._settings.drain_s)
        dispatcher.abandon_all()
        await self._at_most(dispatcher.when_idle(), CLOSE_S)
        await self._at_most(port.when_empty(), CLOSE_S)

    async def _at_most(self, wait: Deferred[None], limit_s: float) -> None:
        if not await at_most(self._reactor, wait, limit_s):
            wait.addErrback(lambda failure: failure.trap(CancelledError))
            wait.cancel()

    def flush_now(self) -> None:
        """Write what the spool still holds in memory; for an exit that waits for nothing else."""
        if self._logs is not None:
            self._logs.flush_now()


async def _stop_listening(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped


async def _call(stop: Callable[[], None]) -> None:
    stop()


async def _cancel_then(running: Deferred[None], stop: Callable[[], Awaitable[None]]) -> None:
    running.cancel()
    await stop()


def _shown_address(port: IListeningPort, scheme: str) -> str:
    """How to reach a port, for people: of one that listens everywhere, the loopback address."""
    address: Any = port.getHost()
    if not hasattr(address, "port"):
        return f"{scheme}+unix:{os.fsdecode(address.name)}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  # shown, not listened on
    return f"{scheme}://[{host}]:{address.port}" if ":" in host else f"{scheme}://{host}:{address.port}"


def _is_null(descriptor: int) -> bool:
    """Whether what is written there is read by nobody, as after twistd has put itself into the background."""
    try:
        return os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return True
