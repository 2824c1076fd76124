"""A whole data port in memory: everything is real but the network, the providers and the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aigw.codecs.gateway_document import read_stored
from aigw.controls.callers import Callers
from aigw.controls.identity import Identity
from aigw.controls.identity_settings import IdentitySettings
from aigw.controls.minted import Minter
from aigw.controls.teams import Teams, read_team
from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.controls.token_text import digest_of
from aigw.controls.tokens import Tokens
from aigw.dispatch.admission import Controls
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.gateways import Gateways
from aigw.dispatch.parts import Parts
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import GatewayError
from aigw.interfaces import IOutboundHTTP
from aigw.providers.credentials import CredentialParts
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.serving.http import Server
from aigw.serving.limits import HttpLimits, SocketLimits
from aigw.serving.websocket import GatewaySocketFactory
from aigw.serving.wheel import Wheel
from aigw.testing.controls import memory_controls
from aigw.testing.documents import MemoryDocuments
from aigw.testing.logs import MemoryLogSink
from aigw.testing.socket import Link, RawClient, SocketClient, connect_socket
from aigw.testing.upstream import ScriptedUpstream
from aigw.upstream.outbound import Outbound
from aigw.values.gateway import Gateway
from aigw.values.ids import LogIds
from aigw.values.record import End
from aigw.values.token import Scope, Token
from aigw.values.usage import Usage
from aigw.wire.data_port import DataPort
from aigw.wire.entry import Door
from aigw.wire.http_routes import FrontSettings, HttpRoutes
from aigw.wire.minting import Minting

TOKEN = "aigw_" + "0" * 43
START_MS = 1_700_000_000_000
NANOUSD_PER_TOKEN = 10


class CountingMeter:
    """
    Counts exchanges.

    Attributes:
        opened_count: Exchanges that were opened.
        records: Of those that are over, in order.
    """

    def __init__(self) -> None:
        self.opened_count = 0
        self.records: list[End] = []

    def opened(self) -> None:
        """See `Meter`."""
        self.opened_count += 1

    def ended(self, record: End) -> None:
        """See `Meter`."""
        self.records.append(record)


def flat_price(slug: str, model: str, usage: Usage) -> int | None:
    """Ten nano-dollars a token for every model but those whose name begins with `unknown`."""
    return None if model.startswith("unknown") else NANOUSD_PER_TOKEN * (usage.tokens_in + usage.tokens_out)


class MemoryDataPort:
    """
    A data port with one token for the account `local`.

    Args:
        gateways: Declared by the owner; by default there is an open one called `default`.
        sockets, http, exchange, front: Bounds.
        providers: The operator's settings by slug.
        sink: Takes the records; by default one that writes in the next turn of `clock`.
        clock: All time; by default one that the test steps. The reactor, for a port that listens.
        upstream: Asks the providers; by default one that the test plays.
        scopes: Of the token.
        identity: Identity providers whose tokens are taken.
        outbound: Asks for their keys; by default over `upstream`.

    Attributes:
        clock, upstream: See above; the default one plays the providers, and the token endpoints.
        sink: Has the records.
        meter: Has counted.
        refused: Errors of the upgrades that were refused.
        controls: What every step passes.
        tokens, minter, identity, teams, team_documents: Whoever may call.
        gateway_documents, gateways: Those that are stored, and all of them.
    """

    def __init__(
        self,
        *,
        gateways: Iterable[Gateway] = (Gateway(id="default", authentication=False),),
        sockets: SocketLimits | None = None,
        http: HttpLimits | None = None,
        exchange: DispatchSettings | None = None,
        front: FrontSettings | None = None,
        providers: Mapping[str, ProviderSettings] | None = None,
        sink: MemoryLogSink | None = None,
        clock: Any = None,
        upstream: Any = None,
        scopes: Iterable[Scope] = ("run",),
        identity: Iterable[IdentitySettings] = (),
        outbound: IOutboundHTTP | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.clock: Any = clock or Clock()
        self.upstream: Any = upstream or ScriptedUpstream()
        self.sink = sink or MemoryLogSink(self.clock)
        self.meter = CountingMeter()
        self.refused: list[GatewayError] = []
        wheel = Wheel(self.clock)
        self.controls = controls or memory_controls(self.clock, self.utc_ms)
        parts = Parts(
            *(self.upstream, self.sink, flat_price, self.clock.seconds, self.meter),
            *(exchange or DispatchSettings(), self.controls, wheel.schedule, partial(self.clock.callLater, 0)),
            getattr(self.upstream, "realtime", None),
        )
        making = CredentialParts(Outbound(self.upstream), lambda: self.utc_ms() / 1000, self.clock.seconds)
        table = ProviderTable(providers, making)
        self.dispatcher = Dispatcher(parts, table, LogIds(self.utc_ms))
        self.tokens = Tokens(TokenFile(Path("no-such-folder", "tokens.json"), _no_thread), self.utc_ms)
        self.tokens.adopt([_entry(scopes)])
        self.socket_factory = GatewaySocketFactory(self.clock, self.clock, wheel, sockets or SocketLimits())
        self.minter = Minter(b"0" * 32, self.tokens, self.utc_ms)
        self.identity = Identity(identity, outbound or Outbound(self.upstream), self.clock)
        self.team_documents = MemoryDocuments(read_team, self.utc_ms)
        self.teams = Teams(self.team_documents)
        self.gateway_documents = MemoryDocuments(read_stored, self.utc_ms)
        self.gateways = Gateways(gateways, self.gateway_documents)
        door = Door(self.gateways, Callers(self.tokens, self.teams, self.minter, self.identity), self.utc_ms)
        limits = self.socket_factory.limits
        routes = HttpRoutes(
            *(door, self.dispatcher, table, wheel, front or FrontSettings(), limits.steps),
            parts.settings.log_body_bytes,
            limits.allowed_origins,
        )
        self.port = DataPort(
            *(door, self.dispatcher, routes, self.socket_factory, self.refused.append, Minting(door, self.minter))
        )
        self.tokens.on_revoked(lambda token: self.port.close_token(token.id))
        self.server = Server(
            self.port.resource(), self.clock, wheel, http or HttpLimits(), self.port.admit, self.port.refuse
        )

    def utc_ms(self) -> int:
        """The wall clock."""
        return START_MS + int(self.clock.seconds() * 1000)

    def connect(
        self,
        path: str = "/v1/local/default",
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        origin: str | None = None,
    ) -> tuple[Link, SocketClient]:
        """A WebSocket client; see `connect_socket`."""
        return connect_socket(self.server, self.clock, path, headers, subprotocols, origin)

    def connect_raw(self, data: bytes = b"") -> tuple[Link, RawClient]:
        """A client of bytes that has sent some already."""
        client = RawClient()
        link = Link(self.server, client, self.clock)
        if data:
            client.send(data)
            link.settle()
        return link, client


def _entry(scopes: Iterable[Scope]) -> TokenEntry:
    digest = digest_of(TOKEN.encode("ascii"))
    assert digest is not None
    return TokenEntry(digest, Token("tok_test", "test", frozenset(scopes), "local", None, START_MS))


def _no_thread(job: Callable[[], None]) -> Deferred[None]:
    raise AssertionError("a test of the data port writes no token file")
