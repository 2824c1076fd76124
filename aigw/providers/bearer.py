"""A request that waits for an access token."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from aigw.interfaces import ICredentials
from aigw.providers.credentials import with_header
from aigw.providers.minting import AccessToken, TokenMint
from aigw.values.step import UpstreamRequest


@implementer(ICredentials)
@attrs.frozen
class MintedBearer:
    """
    Sends `Authorization: Bearer` with a token of a mint.

    Attributes:
        mint: Keeps the token.
        identity: Whose it is.
        ask: Asks for a new one.
    """

    mint: TokenMint
    identity: bytes = attrs.field(repr=False)
    ask: Callable[[], Deferred[AccessToken]] = attrs.field(repr=False)

    def prepare(self, request: UpstreamRequest) -> UpstreamRequest | Deferred[UpstreamRequest]:
        """See `ICredentials`."""
        token = self.mint.token(self.identity, self.ask)
        if isinstance(token, Deferred):
            return token.addCallback(lambda text: _with_bearer(request, text))
        return _with_bearer(request, token)


def _with_bearer(request: UpstreamRequest, token: str) -> UpstreamRequest:
    return msgspec.structs.replace(
        request, headers=with_header(request.headers, b"authorization", b"Bearer " + token.encode())
    )
