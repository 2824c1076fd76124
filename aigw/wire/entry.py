"""Stages 1 and 2, the same for every route of the data port: who calls, and which gateway's settings hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
from twisted.web.server import Request

from aigw.controls.authentication import Caller, authenticate, credentials
from aigw.controls.token_text import PREFIX
from aigw.controls.tokens import Tokens
from aigw.dispatch.gateways import Gateways
from aigw.errors import GatewayUnknown, MalformedRequest
from aigw.values.gateway import Gateway
from aigw.wire.address import Address

AUTHORIZATION = b"cf-aig-authorization"


@attrs.frozen
class Entry:
    """
    Attributes:
        gateway: What the address names, a snapshot.
        caller: Who the token says it is.
        user_agent: As sent.
        settings: The request's own `cf-aig-*` headers; names in lower case.
        in_force: Whether the token would still be taken; asked again for each request of a connection that lasts.
    """

    gateway: Gateway
    caller: Caller
    user_agent: str
    settings: dict[bytes, bytes]
    in_force: Callable[[], bool]


@attrs.frozen
class Door:
    """
    Lets requests in.

    Attributes:
        gateways, tokens: Of this server.
        utc_ms: Wall clock, for the expiry of tokens.
    """

    gateways: Gateways
    tokens: Tokens
    utc_ms: Callable[[], int]

    def enter(
        self, request: Request, address: Address, offered: Sequence[str] = (), positions: Sequence[bytes] = ()
    ) -> Entry:
        """
        Decide whether a request may come in.

        Args:
            request: With its head complete.
            address: Of the request.
            offered: Subprotocols, which may hold a token.
            positions: Lower-case names of the provider's own credential headers: SDKs that have one key only put the
                gateway's token there.
        Raises:
            GatewayUnknown, Unauthorized, MalformedRequest: It may not.
        """
        gateway = self.gateways.find(address.account, address.gateway)
        if gateway is None:
            raise GatewayUnknown()
        credential = credentials(_single(request, AUTHORIZATION), offered)
        if credential is None:
            credential = next(filter(None, (_token_in(request, name) for name in positions)), None)
        caller = authenticate(self.tokens, gateway, credential, self.utc_ms())
        return Entry(
            gateway,
            caller,
            (request.getHeader(b"user-agent") or b"").decode("utf-8", "replace"),
            own_settings(request),
            partial(self._in_force, caller),
        )

    def _in_force(self, caller: Caller) -> bool:
        return not caller.token_id or self.tokens.in_force(caller.token_id, self.utc_ms())


def own_settings(request: Request) -> dict[bytes, bytes]:
    """The gateway's own headers; on an upgrade they hold for every request of the connection."""
    return {
        name.lower(): values[-1]
        for name, values in request.requestHeaders.getAllRawHeaders()
        if name.lower().startswith(b"cf-aig-") and name.lower() != AUTHORIZATION
    }


def _single(request: Request, name: bytes) -> bytes | None:
    """A header that may stand once."""
    values = request.requestHeaders.getRawHeaders(name) or []
    if len(values) > 1:
        raise MalformedRequest(f"more than one `{name.decode('ascii')}` header")
    return values[0] if values else None


def _token_in(request: Request, name: bytes) -> bytes | None:
    """A token of this gateway in a header that is meant for the provider's key."""
    for value in request.requestHeaders.getRawHeaders(name) or []:
        text = value.strip().rpartition(b" ")[2]
        if text.startswith(PREFIX):
            return bytes(text)
    return None
