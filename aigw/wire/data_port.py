"""What answers on the data port: the routes, and the upgrade to a WebSocket."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import attrs
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from aigw.controls.authentication import SUBPROTOCOL_PREFIX, Caller, authenticate, credentials
from aigw.controls.tokens import Tokens
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.gateways import Gateways
from aigw.errors import (
    Draining,
    GatewayError,
    GatewayUnknown,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OriginRefused,
    TooManyConnections,
    Unauthorized,
    UpgradeRequired,
)
from aigw.serving.http import refuse
from aigw.serving.websocket import CLOSE_POLICY, GatewaySocketFactory
from aigw.values.gateway import Gateway
from aigw.wire.universal import UniversalSession

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Bytes that Autobahn's handshake parser takes for line ends.
_LINE_ENDS = re.compile(rb"[\x0b\x0c\x1c\x1d\x1e\x85]")
_SUBPROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class DataPort:
    """
    What the data port works with.

    Attributes:
        dispatcher: Takes requests.
        gateways: Of this server.
        tokens: Of this server.
        sockets: Makes WebSockets.
        utc_ms: Wall clock, for the expiry of tokens.
        refused: Called with the error for each upgrade that was refused: such a refusal leaves no log.
    """

    dispatcher: Dispatcher
    gateways: Gateways
    tokens: Tokens
    sockets: GatewaySocketFactory
    utc_ms: Callable[[], int]
    refused: Callable[[GatewayError], None]
    sessions: set[UniversalSession] = attrs.field(factory=set)
    _emptied: list[Deferred[None]] = attrs.field(factory=list)

    def resource(self) -> Resource:
        """The root of the port's HTTP server."""
        return _Root(self)

    def drain(self) -> None:
        """Close every session as soon as nothing runs on it."""
        for session in list(self.sessions):
            session.drain()

    def gone(self, session: UniversalSession) -> None:
        """A session's connection is lost."""
        self.sessions.discard(session)
        if not self.sessions:
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
        """Close the sessions that a revoked token opened."""
        for session in list(self.sessions):
            if session.caller.token_id == token_id:
                session.close(CLOSE_POLICY, "the token was revoked")


class _Root(Resource):
    """Routes a request by its path; every answer that is no upgrade is JSON."""

    isLeaf = True

    def __init__(self, port: DataPort) -> None:
        super().__init__()
        self._port = port

    def render(self, request: Request) -> int:
        """Serve, or refuse with the error's own status."""
        try:
            account, gateway = _address(request)
            return self._universal(request, account, gateway)
        except GatewayError as error:
            self._port.refused(error)
            if isinstance(error, UpgradeRequired):
                request.setHeader(b"upgrade", b"websocket")
            elif isinstance(error, MethodNotAllowed):
                request.setHeader(b"allow", b"GET")
            elif isinstance(error, Unauthorized):
                request.setHeader(b"www-authenticate", b'Bearer realm="aigw"')
            return refuse(request, error)

    def _universal(self, request: Request, account: str, name: str) -> int:
        port = self._port
        if request.method != b"GET":
            raise MethodNotAllowed("a WebSocket begins with GET")
        if (request.getHeader(b"upgrade") or b"").strip().lower() != b"websocket":
            raise UpgradeRequired()
        offered = _offered(request)
        _check_origin(request, port.sockets.limits.allowed_origins)
        gateway, caller = self._enter(request, account, name, offered)
        if port.dispatcher.draining:
            raise Draining()
        if port.sockets.full:
            raise TooManyConnections()
        session = UniversalSession(
            dispatcher=port.dispatcher,
            limits=port.sockets.limits,
            gateway=gateway,
            caller=caller,
            user_agent=(request.getHeader(b"user-agent") or b"").decode("utf-8", "replace"),
            settings=_settings(request),
            subprotocol=select_subprotocol(offered),
            gone=port.gone,
        )
        port.sessions.add(session)
        port.sockets.upgrade(request, session)
        return NOT_DONE_YET

    def _enter(self, request: Request, account: str, name: str, offered: list[str]) -> tuple[Gateway, Caller]:
        """Stages 1 and 2: who calls, and which gateway's settings hold."""
        gateway = self._port.gateways.find(account, name)
        if gateway is None:
            raise GatewayUnknown()
        credential = credentials(_single(request, b"cf-aig-authorization"), offered)
        return gateway, authenticate(self._port.tokens, gateway, credential, self._port.utc_ms())


def _address(request: Request) -> tuple[str, str]:
    """Account and gateway out of `/v1/{account}/{gateway}`, with or without a slash behind it."""
    path = request.uri.partition(b"?")[0]
    segments = path.removesuffix(b"/").split(b"/")[1:]
    if len(segments) != 3 or segments[0] != b"v1":
        raise NotFound()
    account, gateway = (unquote_to_bytes(segment).decode("latin-1") for segment in segments[1:])
    if not _NAME.fullmatch(account) or not _NAME.fullmatch(gateway):
        raise NotFound()
    return account, gateway


def _single(request: Request, name: bytes) -> bytes | None:
    """A header that may stand once."""
    values = request.requestHeaders.getRawHeaders(name) or []
    if len(values) > 1:
        raise MalformedRequest(f"more than one `{name.decode('ascii')}` header")
    return values[0] if values else None


def _offered(request: Request) -> list[str]:
    """The subprotocols that the client offers, after a look at every header of the handshake."""
    for name, values in request.requestHeaders.getAllRawHeaders():
        if name.lower().startswith((b"sec-websocket-", b"origin", b"host", b"upgrade", b"connection")) and any(
            _LINE_ENDS.search(value) for value in values
        ):
            raise MalformedRequest("a header of the handshake holds a forbidden byte")
    if (request.getHeader(b"sec-websocket-version") or b"").strip() != b"13":
        raise MalformedRequest("Sec-WebSocket-Version is not 13")
    if len(request.requestHeaders.getRawHeaders(b"sec-websocket-key") or []) != 1:
        raise MalformedRequest("a handshake has exactly one Sec-WebSocket-Key")
    offered: list[str] = []
    for value in request.requestHeaders.getRawHeaders(b"sec-websocket-protocol") or []:
        offered += [text for text in (part.strip() for part in value.decode("latin-1").split(",")) if text]
    if len(set(offered)) != len(offered) or not all(_SUBPROTOCOL.fullmatch(text) for text in offered):
        raise MalformedRequest("Sec-WebSocket-Protocol is not a list of different tokens")
    return offered


def select_subprotocol(offered: list[str]) -> str | None:
    """
    The subprotocol to answer with: browsers fail a connection on which they offered some and none was selected.

    Args:
        offered: In the client's order.
    Returns:
        The first that is no secret, else the first; None when none was offered.
    """
    public = (text for text in offered if not text.startswith(SUBPROTOCOL_PREFIX) and "key." not in text)
    return next(public, offered[0] if offered else None)


def _check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    origin = _single(request, b"origin")
    if origin is None or "*" in allowed:
        return
    if origin.strip().decode("latin-1").lower() not in {entry.lower().rstrip("/") for entry in allowed}:
        raise OriginRefused()


def _settings(request: Request) -> dict[bytes, bytes]:
    """The gateway's own headers; what stands on the upgrade holds for every request of the connection."""
    return {
        name.lower(): values[-1]
        for name, values in request.requestHeaders.getAllRawHeaders()
        if name.lower().startswith(b"cf-aig-") and name.lower() != b"cf-aig-authorization"
    }
