"""Every way into the data port."""

from __future__ import annotations

import enum

from aigw.serving.http import GatewayRequest
from aigw.wire.address import Address
from aigw.wire.cors import is_preflight

# In the place of a provider; no provider has this slug.
TOKENS = "tokens"


class Route(enum.Enum):
    """What a request is taken for, by its head alone."""

    PREFLIGHT = "a browser asks what a page may send"
    PROBE = "HEAD of a provider without a path: a coding agent asks whether there is a server"
    MINT = "a backend asks for a token for one of its users"
    UNIVERSAL = "a list of steps for a gateway"
    NATIVE = "a provider's own API"
    UNIVERSAL_SOCKET = "a WebSocket for requests to any provider"
    REALTIME_SOCKET = "a WebSocket to a provider"

    @property
    def asks_providers(self) -> bool:
        """Whether requests on this route become exchanges, and so go through all stages."""
        return self not in (Route.PREFLIGHT, Route.PROBE, Route.MINT)


def route_of(request: GatewayRequest, address: Address) -> Route:
    """
    The route of a request.

    Args:
        request: With its head complete.
        address: Its target, taken apart.
    """
    if is_preflight(request):
        return Route.PREFLIGHT
    if (request.getHeader(b"upgrade") or b"").strip().lower() == b"websocket":
        return Route.REALTIME_SOCKET if address.provider else Route.UNIVERSAL_SOCKET
    if not address.provider:
        return Route.UNIVERSAL
    if address.provider == TOKENS and not address.endpoint:
        return Route.MINT
    if request.method == b"HEAD" and not address.endpoint:
        return Route.PROBE
    return Route.NATIVE
