"""
Tokens for Google's service accounts.

Shapes: developers.google.com/identity/protocols/oauth2/service-account, "HTTP/REST".
"""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError, InvalidField
from aigw.interfaces import ICredentials
from aigw.providers.google_tokens import GoogleSource, read_service_account
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.values.step import Headers, UpstreamRequest
from tests.providers.token_endpoint import KEY, UTC_S, TokenEndpoint, pem, service_account, unsigned

URL = "https://oauth2.googleapis.com/token"


def segment(text: str) -> bytes:
    """A part of a JWT, decoded."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class GoogleCase(SynchronousTestCase):
    """A source, and what it asks of the endpoint."""

    def setUp(self) -> None:
        self.endpoint = TokenEndpoint()

    def source(self, account: bytes = b"", url: str = URL) -> GoogleSource:
        return GoogleSource(account, url, self.endpoint.parts)

    def prepare(self, source: GoogleSource, headers: Headers = ()) -> Any:
        credentials = source.credentials("v1/projects/p", headers)
        assert credentials is not None
        return credentials.prepare(unsigned(headers))


class StatementTests(GoogleCase):
    """What is exchanged for a token."""

    def test_the_statement_is_what_google_wants(self) -> None:
        """It is signed with the account's key, for an hour, and asks for the cloud's scope."""
        self.prepare(self.source(service_account()))
        self.assertEqual(self.endpoint.last.request.url, URL.encode())
        form = self.endpoint.form
        self.assertEqual(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer")
        head, claims, signature = form["assertion"].split(".")
        self.assertEqual(json.loads(segment(head)), {"alg": "RS256", "typ": "JWT", "kid": "fake-key-id"})
        expected = {
            "iss": "robot@fake-project.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": URL,
            "iat": UTC_S,
            "exp": UTC_S + 3600,
        }
        self.assertEqual(json.loads(segment(claims)), expected)
        KEY.public_key().verify(segment(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())

    def test_the_address_in_an_account_is_not_asked(self) -> None:
        """A client cannot send the gateway elsewhere; only the operator names another endpoint."""
        account = service_account(token_uri="https://evil.example/token")
        self.prepare(self.source(), ((b"authorization", account),))
        self.assertEqual(self.endpoint.last.request.url, URL.encode())
        self.prepare(self.source(account, "http://127.0.0.1:9/token"))
        self.assertEqual(self.endpoint.last.request.url, b"http://127.0.0.1:9/token")


class SourceTests(GoogleCase):
    """Who gets a token, and who does not."""

    def test_the_token_replaces_the_account(self) -> None:
        """A client's account, plain or in base64, never goes to Vertex AI; its token does, and is shared."""
        account = service_account(region="us-central1")
        source = self.source()
        waiting = self.prepare(source, ((b"authorization", b"Bearer " + base64.b64encode(account)), (b"x", b"1")))
        self.assertIsInstance(waiting, Deferred)
        self.endpoint.answer("ya29.fake")
        request = self.successResultOf(waiting)
        self.assertEqual(request.headers, ((b"x", b"1"), (b"authorization", b"Bearer ya29.fake")))
        again = self.prepare(source, ((b"authorization", account),))
        self.assertIsInstance(again, UpstreamRequest)
        self.assertEqual(self.endpoint.asked, 1)

    def test_accounts_do_not_share_tokens(self) -> None:
        """Another account, and another key of the same account, asks for a token of its own."""
        source = self.source()
        for account in (service_account(), service_account(client_email="b@x"), service_account(private_key="wrong")):
            credentials = source.credentials("", ((b"authorization", account),))
            assert credentials is not None
            if b"wrong" in account:
                self.assertRaises(InvalidField, credentials.prepare, unsigned())
            else:
                credentials.prepare(unsigned())
        self.assertEqual(self.endpoint.asked, 2)

    def test_a_clients_credential_goes_before_the_operators(self) -> None:
        """An access token passes as it is; an API key in header or query needs no token."""
        source = self.source(service_account())
        sent: tuple[tuple[str, Headers], ...] = (
            ("v1/projects/p", ((b"authorization", b"Bearer ya29.own"),)),
            ("v1/publishers/google", ((b"x-goog-api-key", b"fake"),)),
            ("v1/publishers/google?alt=sse&key=fake", ()),
        )
        for endpoint, headers in sent:
            self.assertIsNone(source.credentials(endpoint, headers))
        found = source.credentials("v1/projects/p?alt=sse&monkey=1", ())
        self.assertTrue(ICredentials.providedBy(found))

    def test_without_any_account_nothing_is_made(self) -> None:
        """Vertex AI itself says what is missing."""
        self.assertIsNone(self.source().credentials("v1/projects/p", ()))

    def test_leaving_takes_the_question_back(self) -> None:
        """A client that leaves while its token is minted closes the connection to Google."""
        waiting = self.prepare(self.source(service_account()))
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertTrue(self.endpoint.last.stopped)


class AccountTests(SynchronousTestCase):
    """Accounts that cannot be used."""

    def test_what_is_wrong_is_told_without_the_key(self) -> None:
        """The error names what the account lacks, never what it holds."""
        small = rsa.generate_private_key(65537, 1024)
        curve = ec.generate_private_key(ec.SECP256R1())
        curve_pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for text, told in (
            (b"{", "no JSON"),
            (service_account(client_email=None), "client_email"),
            (service_account(private_key=None), "private_key"),
            (service_account(private_key=7), "private_key"),
            (service_account(private_key="hunter2"), "cannot be read"),
            (service_account(private_key=pem(small)), "2048"),
            (service_account(private_key=curve_pem), "no RSA key"),
        ):
            error = self.assertRaises(ValueError, read_service_account, text)
            self.assertIn(told, str(error))
            self.assertNotIn("hunter2", str(error))

    def test_a_key_that_does_not_fit_together(self) -> None:
        """A key with a wrong number in it is refused before anything is signed with it."""
        numbers = KEY.private_numbers()
        public = numbers.public_numbers
        wrong = (
            rsa.RSAPrivateNumbers(
                numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, public
            ),
            rsa.RSAPrivateNumbers(
                numbers.p, numbers.q, numbers.d, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, public
            ),
            rsa.RSAPrivateNumbers(
                numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp + 1, public
            ),
        )
        for one in wrong:
            key = one.private_key(unsafe_skip_rsa_key_validation=True)
            error = self.assertRaises(ValueError, read_service_account, service_account(private_key=pem(key)))
            self.assertIn("private_key", str(error))

    def test_a_wrong_account_in_the_settings_is_told_at_the_start(self) -> None:
        """`aigw check-config` finds it, and does not repeat it."""
        settings = {"google-vertex-ai": ProviderSettings(service_account='{"private_key":"hunter2"}')}
        (problem,) = self.assertRaises(ConfigurationError, ProviderTable, settings).problems
        self.assertEqual(problem, "providers.google-vertex-ai.service_account: it has no client_email")
