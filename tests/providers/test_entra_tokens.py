"""
Tokens for an application of Microsoft Entra.

Shapes: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.provider import Provider
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.values.step import Headers
from tests.providers.token_endpoint import TokenEndpoint, unsigned

APPLICATION = {"tenant_id": "contoso.example", "client_id": "fake-app", "client_secret": "env:ENTRA"}
ENDPOINT = "res/gpt-4o/chat/completions?api-version=2024-10-21"


class EntraTests(SynchronousTestCase):
    """The operator's application asks, and clients need no key."""

    def setUp(self) -> None:
        self.endpoint = TokenEndpoint()

    def provider(self, slug: str = "azure-openai", **settings: Any) -> Provider:
        made = {slug: ProviderSettings(**settings)}
        return ProviderTable(made, self.endpoint.parts, {"ENTRA": "fake-secret"}).lookup(slug)

    def test_a_token_is_fetched_and_shared(self) -> None:
        """The tenant's endpoint is asked once, with the application's secret; requests carry the token."""
        for slug in ("azure-openai", "azure"):
            provider = self.provider(slug, **APPLICATION)
            credentials = provider.credentials_for(ENDPOINT, ())
            assert credentials is not None
            waiting: Any = credentials.prepare(unsigned())
            asked = self.endpoint.last.request.url
            self.assertEqual(asked, b"https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token")
            expected = {
                "grant_type": "client_credentials",
                "client_id": "fake-app",
                "client_secret": "fake-secret",
                "scope": "https://cognitiveservices.azure.com/.default",
            }
            self.assertEqual(self.endpoint.form, expected)
            self.endpoint.answer("eyJ.fake", 3599)
            request = self.successResultOf(waiting)
            self.assertEqual(request.headers, ((b"authorization", b"Bearer eyJ.fake"),))
            asked_before = self.endpoint.asked
            self.assertEqual(credentials.prepare(unsigned()), request)
            self.assertEqual(self.endpoint.asked, asked_before)

    def test_a_clients_own_key_passes(self) -> None:
        """Whoever brings a key or a token is served with it."""
        provider = self.provider(**APPLICATION)
        sent: tuple[Headers, ...] = (((b"api-key", b"fake"),), ((b"authorization", b"Bearer own"),))
        for headers in sent:
            self.assertIsNone(provider.credentials_for(ENDPOINT, headers))

    def test_without_an_application_nothing_is_made(self) -> None:
        """Azure itself says what is missing."""
        self.assertIsNone(self.provider().credentials_for(ENDPOINT, ()))

    def test_a_strange_tenant_stays_in_its_place(self) -> None:
        """A tenant cannot become another path."""
        provider = self.provider(**(APPLICATION | {"tenant_id": "a/../b?c"}))
        credentials = provider.credentials_for(ENDPOINT, ())
        assert credentials is not None
        waiting: Any = credentials.prepare(unsigned())
        waiting.addErrback(lambda _: None)
        asked = self.endpoint.last.request.url
        self.assertEqual(asked, b"https://login.microsoftonline.com/a%2F..%2Fb%3Fc/oauth2/v2.0/token")
        waiting.cancel()
