"""Stages 1 and 2, the same for every route of the data port: who calls, and which gateway's settings hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs
from twisted.web.server import Request

from aigw.controls.authentication import Caller, credentials
from aigw.controls.bounds import check_origins
from aigw.controls.callers import Admission, Callers
from aigw.controls.locks import HeldSettings, in_todays_spelling, is_setting, locks_of
from aigw.controls.token_text import PREFIX
from aigw.dispatch.gateways import Gateways
from aigw.errors import GatewaysUnread, GatewayUnknown, MalformedRequest, Unauthorized
from aigw.values.gateway import Gateway
from aigw.wire.address import Address
from aigw.wire.cors import origin_of

AUTHORIZATION = b"cf-aig-authorization"
# As Cloudflare Access, and whatever does the same, tells who is behind a request.
ASSERTION = b"cf-access-jwt-assertion"
_COUNTRY = re.compile(r"[A-Za-z][A-Za-z0-9]")


@attrs.define
class Entry:
    """
    Who came in where. On a connection that lasts, `renew` brings it up to date.

    Attributes:
        gateway: What the address names, a snapshot.
        caller: Who the credential says it is.
        user_agent: As sent.
        country: Two letters, as the proxy in front tells; empty when unknown.
        held: What its own `cf-aig-*` headers come to.
    """

    gateway: Gateway
    caller: Caller
    user_agent: str
    _sent: dict[bytes, bytes]
    _door: Door = attrs.field(repr=False)
    _admission: Admission = attrs.field(repr=False)
    _origin: str | None
    country: str = ""
    held: HeldSettings = attrs.field(init=False)

    @held.default
    def _hold(self) -> HeldSettings:
        return HeldSettings.of(self._sent, locks_of(self.gateway, self.caller))

    @property
    def settings(self) -> dict[bytes, bytes]:
        """The request's own `cf-aig-*` headers, but for the locked ones; names in lower case."""
        return self.held.headers

    def renew(self) -> None:
        """
        Take the gateway's settings and the caller's bounds as they are now.

        Raises:
            GatewayError: The caller would not be let in any more. Gateway and caller stay as they were.
        """
        gateway = self._door.gateway(self.gateway.account, self.gateway.id)
        caller = self._admission.present(gateway, self._door.utc_ms())
        check_origins(caller, self._origin)
        if gateway is not self.gateway or caller is not self.caller:
            self.gateway, self.caller = gateway, caller
            self.held = self._hold()
            self._door.met(gateway, caller)


@attrs.frozen
class Door:
    """
    Lets requests in.

    Attributes:
        gateways: Of this server.
        callers: Knows who may call.
        utc_ms: Wall clock, for the expiry of tokens.
        country_header: Name of the header in which a proxy in front tells the caller's country; empty for none.
    """

    gateways: Gateways
    callers: Callers
    utc_ms: Callable[[], int]
    country_header: str = ""

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
            GatewayUnknown, GatewaysUnread, Unauthorized, IdentityNotReady, OriginRefused, MalformedRequest: It may not.
        """
        gateway = self.gateway(address.account, address.gateway)
        credential = credentials(_single(request, AUTHORIZATION), offered)
        if credential is None:
            credential = next(filter(None, (_token_in(request, name) for name in positions)), None)
        try:
            admission = self.callers.admit(gateway, credential, self.utc_ms(), _single(request, ASSERTION))
        except Unauthorized:
            if self.gateways.find(gateway.account, gateway.id) is None:
                # Whoever may not call does not bring it to life either.
                raise GatewayUnknown() from None
            raise
        origin = origin_of(request)
        check_origins(admission.caller, origin)
        self.met(gateway, admission.caller)
        return Entry(
            gateway=gateway,
            caller=admission.caller,
            user_agent=(request.getHeader(b"user-agent") or b"").decode("utf-8", "replace"),
            sent=own_settings(request),
            door=self,
            admission=admission,
            origin=origin,
            country=self._country(request),
        )

    def _country(self, request: Request) -> str:
        told = request.getHeader(self.country_header) if self.country_header else None
        return told.strip().upper() if told and _COUNTRY.fullmatch(told.strip()) else ""

    def gateway(self, account: str, name: str) -> Gateway:
        """
        The gateway of an address, as it is now; a `default` also where it comes to life only with a good token.

        Raises:
            GatewayUnknown: There is none.
            GatewaysUnread: Nobody knows yet.
        """
        gateway = self.gateways.find(account, name)
        if gateway is not None:
            return gateway
        if not self.gateways.known:
            raise GatewaysUnread()
        unborn = self.gateways.unborn(account, name)
        if unborn is None:
            raise GatewayUnknown()
        return unborn

    def met(self, gateway: Gateway, caller: Caller) -> None:
        """A caller has been let in to a gateway."""
        if caller.authenticated:
            self.gateways.met(gateway)


def own_settings(request: Request) -> dict[bytes, bytes]:
    """The gateway's own headers; on an upgrade they hold for every request of the connection."""
    # Their names are in lower case already.
    sent = {
        name: values[-1]
        for name, values in request.requestHeaders.getAllRawHeaders()
        if is_setting(name) and name != AUTHORIZATION
    }
    return in_todays_spelling(sent)


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
