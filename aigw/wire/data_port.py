"""What answers on the data port: the routes, and the upgrade to a WebSocket."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aigw.controls.token_text import parent_of
from aigw.dispatch.dispatcher import Dispatcher
from aigw.errors import (
    GatewayError,
    MethodNotAllowed,
    NotFound,
    OriginRefused,
    TooManyConnections,
    Unauthorized,
    UpgradeRequired,
)
from aigw.serving.http import GatewayRequest, answer_json, refuse
from aigw.serving.websocket import GatewaySocketFactory
from aigw.serving.wheel import Timer
from aigw.wire.address import Address, read_address
from aigw.wire.cors import allow_origin, answer_preflight, check_origin
from aigw.wire.entry import Door, Entry
from aigw.wire.handshake import read_offered, select_subprotocol
from aigw.wire.http_routes import HttpRoutes
from aigw.wire.minting import Minting
from aigw.wire.realtime import RealtimeSession, with_tokens
from aigw.wire.routes import Route, route_of
from aigw.wire.universal import UniversalSession

# Within five seconds, a session whose credential has expired is over.
REVIEW_S = 2.0

# Judges a request by its head, and gives what serves it once its body is whole.
_Admit = Callable[[GatewayRequest, Address], Callable[[], int]]


@attrs.frozen
class DataPort:
    """
    What the data port works with.

    Attributes:
        door: Lets requests in.
        dispatcher: Takes requests.
        http: Serves what is no WebSocket.
        sockets: Makes WebSockets.
        refused: Called with the error for each request that was refused at the door: such a refusal leaves no log.
        minting: Makes short-lived tokens; None: it is not asked for them.
        sessions: Open WebSockets.
    """

    door: Door
    dispatcher: Dispatcher
    http: HttpRoutes
    sockets: GatewaySocketFactory
    refused: Callable[[GatewayError], None]
    minting: Minting | None = None
    sessions: set[UniversalSession | RealtimeSession] = attrs.field(factory=set)
    _emptied: list[Deferred[None]] = attrs.field(factory=list)
    _reviewing: Timer = attrs.field(init=False, repr=False)
    _admitting: dict[Route, _Admit] = attrs.field(init=False, repr=False)

    @_admitting.default
    def _every_route(self) -> dict[Route, _Admit]:
        return {
            Route.PREFLIGHT: lambda request, _: lambda: answer_preflight(request),
            Route.PROBE: lambda request, _: lambda: answer_json(request, 200, b""),
            Route.MINT: self._mint,
            Route.UNIVERSAL: self.http.admit_universal,
            Route.NATIVE: self.http.admit_native,
            Route.UNIVERSAL_SOCKET: self._upgrade,
            Route.REALTIME_SOCKET: self._upgrade,
        }

    @_reviewing.default
    def _not_yet(self) -> Timer:
        return Timer(self.http.wheel, self._review)

    def resource(self) -> Resource:
        """The root of the port's HTTP server."""
        return _Root(self)

    def admit(self, request: GatewayRequest) -> None:
        """
        Judge a request by its head, before its body is read; what is found is kept with the request.

        Raises:
            GatewayError: Why it is not let in.
        """
        try:
            address = read_address(request.uri)
            check_origin(request, self.http.allowed_origins)
            request.serve = self._admitting[route_of(request, address)](request, address)
        except GatewayError as error:
            self.refused(error)
            raise

    def refuse(self, request: GatewayRequest, error: GatewayError) -> int:
        """Answer a request that is not served; returns `NOT_DONE_YET`."""
        if isinstance(error, MethodNotAllowed) and not request.responseHeaders.hasHeader(b"allow"):
            request.setHeader(b"allow", b"GET, POST")
        elif isinstance(error, UpgradeRequired):
            request.setHeader(b"upgrade", b"websocket")
        elif isinstance(error, Unauthorized):
            request.setHeader(b"www-authenticate", b'Bearer realm="aigw"')
        for name, value in error.headers:
            request.setHeader(name, value)
        if not isinstance(error, OriginRefused):
            allow_origin(request)
        return refuse(request, error)

    def _mint(self, request: GatewayRequest, address: Address) -> Callable[[], int]:
        if self.minting is None:
            raise NotFound()
        return self.minting.admit(request, address)

    def _upgrade(self, request: GatewayRequest, address: Address) -> Callable[[], int]:
        if request.method != b"GET":
            raise MethodNotAllowed("a WebSocket begins with GET")
        offered = read_offered(request)
        entry = self.http.enter(request, address, with_tokens(offered, address) if address.provider else offered)
        if self.sockets.full:
            raise TooManyConnections()
        return lambda: self._open(request, address, entry, offered)

    def _open(self, request: GatewayRequest, address: Address, entry: Entry, offered: list[str]) -> int:
        if address.provider:
            realtime = RealtimeSession(request, self.sockets, entry, offered, self._gone)
            self.sessions.add(realtime)
            if not self._reviewing.active:
                self._reviewing.reset(REVIEW_S)
            realtime.begin(self.dispatcher, address)
            return NOT_DONE_YET
        session = UniversalSession(
            self.dispatcher, self.sockets.limits, entry, subprotocol=select_subprotocol(offered), gone=self._gone
        )
        self.sessions.add(session)
        self.sockets.upgrade(request, session)
        return NOT_DONE_YET

    def drain(self) -> None:
        """Close every session as soon as nothing runs on it."""
        for session in list(self.sessions):
            session.drain()

    def _gone(self, session: UniversalSession | RealtimeSession) -> None:
        self.sessions.discard(session)
        if not self.sessions:
            self._reviewing.cancel()
            waiting = list(self._emptied)
            self._emptied.clear()
            for done in waiting:
                done.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Fires when no session is left; may be cancelled."""
        done: Deferred[None] = Deferred(self._emptied.remove)
        if self.sessions:
            self._emptied.append(done)
        else:
            done.callback(None)
        return done

    def close_token(self, token_id: str) -> None:
        """Close the sessions that a revoked token opened, or one that it has minted."""
        for session in list(self.sessions):
            if token_id in (session.caller.token_id, parent_of(session.caller.token_id)):
                session.revoke()

    def _review(self) -> None:
        """Look again at whoever holds a session open: what is no request comes through no other door."""
        realtime = [session for session in self.sessions if isinstance(session, RealtimeSession)]
        if realtime:
            self._reviewing.reset(REVIEW_S)
        for session in realtime:
            session.review()


class _Root(Resource):
    """Serves what was admitted by its head; every answer of our own is JSON."""

    isLeaf = True

    def __init__(self, port: DataPort) -> None:
        super().__init__()
        self._port = port

    def render(self, request: GatewayRequest) -> int:
        """Serve, or refuse with the error's own status."""
        error = request.refusal
        try:
            if error is None and request.serve is not None:
                return request.serve()
        except GatewayError as found:
            self._port.refused(found)
            error = found
        return self._port.refuse(request, error or NotFound())
