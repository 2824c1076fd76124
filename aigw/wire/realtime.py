"""A client's side of a realtime session: `/v1/{account}/{gateway}/{provider}` with an upgrade."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from aigw.controls.authentication import SUBPROTOCOL_PREFIX, Caller
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.opening import Opening
from aigw.dispatch.session import Refusal, SessionExchange
from aigw.errors import GatewayError, MalformedRequest, RequestTooLarge, TooManyConnections, Unauthorized
from aigw.serving.http import GatewayRequest, answer_json, refuse
from aigw.serving.refusal import error_body
from aigw.serving.relayed import sendable_code
from aigw.serving.session_socket import SessionSocket
from aigw.serving.websocket import GatewaySocketFactory, ISocketApplication
from aigw.values.step import Headers, Step
from aigw.wire.address import Address
from aigw.wire.cors import allow_origin
from aigw.wire.entry import Entry
from aigw.wire.handshake import select_subprotocol

REQUEST_TYPE = "realtime"
_TOO_BIG = 1009
_TOKEN = re.compile(r"(?<![A-Za-z0-9_])aigw_[0-9A-Za-z]+")


def with_tokens(offered: list[str], address: Address) -> list[str]:
    """
    Subprotocols in which every token of this gateway stands where a token stands: clients that have one key only put it
    where the provider's key goes, in a header, another subprotocol, or the query string.

    Args:
        offered: By the client.
        address: Of the upgrade.
    """
    query = address.endpoint.partition("?")[2]
    found = [match[0] for text in (*offered, *query.split("&")) for match in _TOKEN.finditer(text)]
    return [*offered, *(SUBPROTOCOL_PREFIX + token for token in found)]


@implementer(ISocketApplication)
class RealtimeSession:
    """
    Stands between a client's connection and its exchange.

    Args:
        request: The upgrade, let in but not answered.
        sockets: Makes the client's socket.
        entry: Who calls which gateway.
        offered: The client's subprotocols.
        gone: Called once with the session, when nothing is left of it.
    """

    def __init__(
        self,
        request: GatewayRequest,
        sockets: GatewaySocketFactory,
        entry: Entry,
        offered: list[str],
        gone: Callable[[RealtimeSession], None],
    ) -> None:
        self._request: GatewayRequest | None = request
        self._sockets = sockets
        self._entry = entry
        self._offered = offered
        self._gone = gone
        self._socket: SessionSocket | None = None
        self._exchange: SessionExchange | None = None
        self._is_over = False
        self.subprotocol: str | None = None
        self.headers: dict[str, str] = {}
        request.notifyFinish().addErrback(lambda _: self._left_early())

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self._entry.caller

    def begin(self, dispatcher: Dispatcher, address: Address) -> None:
        """Hand the upgrade in."""
        request = self._request
        if request is None:
            return
        headers = tuple(
            (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        )
        settings = self._entry.settings
        step = Step(address.provider, address.endpoint, headers, b"", settings, b"GET", self._entry.held.locked)
        opening = Opening(
            gateway=self._entry.gateway,
            caller=self._entry.caller,
            user_agent=self._entry.user_agent,
            request_type=REQUEST_TYPE,
            event_id=settings.get(b"cf-aig-event-id", b"").decode("utf-8", "replace"),
            steps=(step,),
            settings=settings,
            country=self._entry.country,
        )
        exchange = dispatcher.open_session(opening, self._offered, self)
        # With a full spool it is over already.
        self._exchange = None if self._is_over else exchange

    # What the exchange tells: `SessionClient` -------------------------------------------------------------------------

    def accept(self, subprotocol: str | None) -> GatewayError | None:
        """The provider agreed: upgrade the client, too."""
        request, self._request = self._request, None
        if request is None or self._exchange is None:
            return None
        if self._sockets.full:
            self._request = request
            return TooManyConnections()
        self.subprotocol = subprotocol if subprotocol in self._offered else select_subprotocol(self._offered)
        self.headers = {"cf-aig-log-id": self._exchange.log_id, **_texts(self._exchange.own)}
        self._sockets.upgrade(request, self, SessionSocket)
        return None

    def refuse(self, error: GatewayError, refusal: Refusal | None) -> None:
        """There is no session: say why, in the provider's own words where it has any."""
        request, self._request = self._request, None
        if request is not None:
            if self._exchange is not None:
                request.setHeader(b"cf-aig-log-id", self._exchange.log_id.encode("ascii"))
                for name, value in self._exchange.own:
                    request.setHeader(name, value)
            allow_origin(request)
            if refusal is not None:
                _pass_on(request, error, refusal)
            else:
                refuse(request, error)
        self._end()

    def send(self, payload: bytes, binary: bool) -> None:
        """A message from the provider."""
        if self._socket is not None:
            self._socket.send(payload, binary)

    def hold(self) -> None:
        """The provider reads slowly."""
        if self._socket is not None:
            self._socket.hold()

    def release(self) -> None:
        """The provider has caught up."""
        if self._socket is not None:
            self._socket.release()

    def close(self, code: int | None, reason: str) -> None:
        """The session is over: in good order, with the provider's code or ours."""
        self._exchange = None
        if self._socket is not None:
            # A client that is read from no more would never be heard to agree.
            self._socket.release()
            self._socket.close_with(sendable_code(code), reason)

    # What the socket tells: `ISocketApplication` ----------------------------------------------------------------------

    def opened(self, socket: Any) -> None:
        """The handshake is done."""
        self._socket = socket

    def message(self, payload: bytes, binary: bool) -> None:
        """A message from the client."""
        if self._exchange is not None:
            self._exchange.from_client(payload, binary)

    def pause(self) -> None:
        """The client reads slowly."""
        if self._exchange is not None:
            self._exchange.client_slow()

    def resume(self) -> None:
        """The client has caught up."""
        if self._exchange is not None:
            self._exchange.client_caught_up()

    def left(self) -> None:
        """The client has closed its socket, or broken a rule, or is gone."""
        exchange, self._exchange = self._exchange, None
        socket = self._socket
        if exchange is None or socket is None:
            return
        if socket.close_frame:
            exchange.client_left(True, sendable_code(socket.close_code), socket.close_reason)
        elif socket.failedByMe:
            too_large = socket.localCloseCode == _TOO_BIG
            exchange.abandon(RequestTooLarge() if too_large else MalformedRequest("a breach of the WebSocket protocol"))
        else:
            exchange.client_left(False)

    def closed(self) -> None:
        """The connection is gone, also when the handshake failed."""
        self._left_early()
        self._end()

    def _left_early(self) -> None:
        """The client is gone before it had a socket."""
        self._request = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_left(False)

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._gone(self)

    # What the data port tells -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """The gateway is about to stop: the session may go on until its exchange is abandoned."""

    def revoke(self) -> None:
        """The token that opened the session is good for nothing any more."""
        if self._exchange is not None:
            self._exchange.abandon(Unauthorized("the token was revoked"))

    def review(self) -> None:
        """A session has no next request at which its caller could be looked at again: do that now."""
        try:
            self._entry.renew()
        except GatewayError as error:
            if self._exchange is not None:
                self._exchange.abandon(error)


def _texts(headers: Headers) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _pass_on(request: GatewayRequest, error: GatewayError, refusal: Refusal) -> None:
    """
    Answer an upgrade as the provider answered it. A status that a client would take for something else than a refusal
    becomes the error's own.
    """
    status = refusal.status if refusal.status >= 400 else error.status
    content_type = next((value for name, value in refusal.headers if name == b"content-type"), b"")
    if refusal.status >= 400 and content_type.partition(b";")[0].strip().lower().endswith(b"json"):
        answer_json(request, status, refusal.body)
    else:
        answer_json(request, status, error_body(error))
