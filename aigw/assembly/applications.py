"""The data port, with all that a request passes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from aigw import __version__
from aigw.assembly.controls import Controlled
from aigw.assembly.ground import Ground
from aigw.assembly.listening import stop_listening
from aigw.assembly.steps import utc_ms
from aigw.assembly.together import uncounted
from aigw.controls.callers import Callers
from aigw.controls.identity import Identity
from aigw.controls.master_key import FILE_NAME
from aigw.controls.minted import Minter
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.parts import Parts
from aigw.operations.meter import Meter
from aigw.operations.metrics import Levels, Metrics
from aigw.operations.resources import Readiness
from aigw.providers.credentials import CredentialParts
from aigw.providers.pricing import Prices
from aigw.providers.table import MODULES, ProviderTable
from aigw.serving.http import Server
from aigw.serving.patience import at_most
from aigw.serving.websocket import GatewaySocketFactory
from aigw.values.ids import LogIds
from aigw.wire.data_port import DataPort
from aigw.wire.entry import Door
from aigw.wire.http_routes import HttpRoutes
from aigw.wire.minting import Minting

CLOSE_S = 2.0


class Applications:
    """
    What applications talk to.

    Args:
        ground, controlled: What it stands on.

    Attributes:
        server: What listens for them.
        readiness, metrics: How it goes, for operators.
    """

    _log = Logger()

    def __init__(self, ground: Ground, controlled: Controlled) -> None:
        self._ground = ground
        settings = ground.settings
        making = CredentialParts(controlled.outbound, time.time, time.monotonic)
        providers = ProviderTable(settings.providers, making)
        self._meter = Meter([*MODULES, *settings.providers])
        self._dispatcher = Dispatcher(self._parts(controlled, self._prices(providers)), providers, LogIds(utc_ms))
        sockets = GatewaySocketFactory(ground.reactor, ground.reactor, ground.wheel, settings.websocket, ground.turn)
        minter = Minter(
            *((settings.data_path() / FILE_NAME).read_bytes(), ground.tokens, utc_ms),
            also_check=partial(uncounted, settings),
        )
        callers = Callers(ground.tokens, ground.teams, minter, self._identity(controlled))
        door = Door(ground.gateways, callers, utc_ms, settings.front.country_header)
        routes = HttpRoutes(
            *(door, self._dispatcher, providers, ground.wheel, settings.front, settings.websocket.steps),
            *(settings.exchange.log_body_bytes, settings.websocket.allowed_origins),
        )
        self._port = DataPort(door, self._dispatcher, routes, sockets, self._meter.refused, Minting(door, minter))
        ground.tokens.on_revoked(lambda token: self._port.close_token(token.id))
        self.server = Server(
            *(self._port.resource(), ground.reactor, ground.wheel, settings.http),
            *(self._port.admit, self._port.refuse, ground.turn),
        )
        logs = ground.logs
        self.readiness = Readiness(lambda: self._dispatcher.draining, logs.sink, controlled.metrics.degraded)
        levels = Levels(
            lambda: sockets.open_sockets,
            lambda: len(self.server.channels),
            lambda: ground.database.available,
            lambda: not self.readiness.reasons(),
            logs.backlog_bytes,
        )
        self.metrics = Metrics(self._meter, logs.stats, levels, __version__, controlled.metrics)

    def _prices(self, providers: ProviderTable) -> Prices:
        prices = Prices(lambda slug: providers.lookup(slug).prices, lambda: datetime.now(UTC))
        # A thread takes its share of the interpreter: a start that is under way comes first.
        warming = self._ground.reactor.callLater(0, self._warm, prices)
        self._ground.steps.add_plain(lambda: warming.cancel() if warming.active() else None)
        return prices

    def _warm(self, prices: Prices) -> None:
        deferToThread(prices.warm).addErrback(lambda failure: self._log.failure("no price list", failure))

    def _parts(self, controlled: Controlled, prices: Prices) -> Parts:
        ground, upstream = self._ground, controlled.upstream
        return Parts(
            *(upstream, ground.logs.sink, prices.cost_nanousd, time.monotonic, self._meter),
            *(ground.settings.exchange, controlled.controls, ground.wheel.schedule),
            *(partial(ground.reactor.callLater, 0), upstream.realtime),
        )

    def _identity(self, controlled: Controlled) -> Identity:
        identity = Identity(self._ground.settings.identity, controlled.outbound, self._ground.reactor)
        identity.start()
        self._ground.steps.add_plain(identity.stop)
        return identity

    async def finish(self, ports: Sequence[IListeningPort], drain_s: float) -> None:
        """
        Accept nothing more, let what runs finish, end the rest, and close every socket with 1001.

        Args:
            ports: That listen for `server`.
            drain_s: How long what runs may take.
        """
        self._dispatcher.draining = True
        await stop_listening(ports)
        self.server.drain()
        self._port.drain()
        await self._at_most(self._dispatcher.when_idle(), drain_s)
        self._dispatcher.abandon_all()
        await self._at_most(self._dispatcher.when_idle(), CLOSE_S)
        await self._at_most(self._port.when_empty(), CLOSE_S)

    async def _at_most(self, wait: Deferred[None], limit_s: float) -> None:
        if not await at_most(self._ground.reactor, wait, limit_s):
            wait.addErrback(lambda failure: failure.trap(CancelledError))
            wait.cancel()
