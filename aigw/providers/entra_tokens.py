"""
Microsoft Entra: an application's client credentials are exchanged for an access token.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred

from aigw.interfaces import ICredentials
from aigw.providers.bearer import MintedBearer
from aigw.providers.credentials import CredentialParts, CredentialScheme, header
from aigw.providers.minting import AccessToken, TokenMint, ask_token_endpoint
from aigw.providers.settings import ProviderSettings
from aigw.values.step import Headers

TOKEN_URL = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"  # noqa: S105 - an address
# Taken by Azure OpenAI and by Foundry's models alike.
SCOPE = "https://cognitiveservices.azure.com/.default"

# A client that sends one of these has a credential of its own.
_OWN = (b"authorization", b"api-key", b"x-api-key")


class EntraSource:
    """
    Mints tokens for the operator's application; a client's own key passes.

    Args:
        settings: With `tenant_id`, `client_id` and `client_secret`.
        parts: See there.
    """

    def __init__(self, settings: ProviderSettings, parts: CredentialParts) -> None:
        self._url = settings.token_url or TOKEN_URL.format(tenant=quote(settings.tenant_id, safe=""))
        self._form = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": settings.client_id,
                "client_secret": settings.client_secret,
                "scope": SCOPE,
            }
        ).encode()
        self._outbound = parts.outbound
        self._mint = TokenMint(parts.monotonic_s)
        self._bearer = MintedBearer(self._mint, b"application", self._ask) if settings.client_id else None

    def credentials(self, endpoint: str, headers: Headers) -> ICredentials | None:
        """See `CredentialSource`."""
        return None if any(header(headers, name) is not None for name in _OWN) else self._bearer

    def _ask(self) -> Deferred[AccessToken]:
        return Deferred.fromCoroutine(ask_token_endpoint(self._outbound, self._url, self._form, "Microsoft Entra"))


ENTRA = CredentialScheme(EntraSource, ("tenant_id", "client_id", "client_secret"), ("token_url",))
