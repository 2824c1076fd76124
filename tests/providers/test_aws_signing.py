"""Who signs for Bedrock, and with what."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sigv4 import AwsKeys, Scope, signed
from aigw.errors import InvalidField
from aigw.interfaces import ICredentials
from aigw.providers.provider import Provider
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.values.step import Clocks, Headers, UpstreamRequest
from tests.providers.token_endpoint import TokenEndpoint

INVOKE = "bedrock-runtime/eu-west-3/model/anthropic.claude-v2:1/invoke"
MESSAGES = "bedrock-mantle/us-east-1/anthropic/v1/messages"
# What `TokenEndpoint`s clock says at first.
DATE = "20260921T141320Z"
CLIENT = (
    b'{"accessKeyId":"AKIACLIENT","secretAccessKey":"fake-client","region":"us-east-1","sessionToken":"fake-session"}'
)


class SigningCase(SynchronousTestCase):
    """Requests on their way to Bedrock."""

    def provider(self, **settings: Any) -> Provider:
        made = {"aws-bedrock": ProviderSettings(**settings)}
        return ProviderTable(made, TokenEndpoint().parts, {}).lookup("aws-bedrock")

    def sent(self, provider: Provider, endpoint: str, *headers: tuple[bytes, bytes]) -> UpstreamRequest:
        """The request as it leaves."""
        fields = provider.headers(headers)
        request = UpstreamRequest(b"POST", provider.address(endpoint), fields, b'{"max_tokens":1}', Clocks())
        credentials: ICredentials | None = provider.credentials_for(endpoint, fields)
        if credentials is None:
            return request
        prepared = credentials.prepare(request)
        assert isinstance(prepared, UpstreamRequest)
        return prepared

    def authorization(self, request: UpstreamRequest) -> bytes:
        return dict(request.headers).get(b"authorization", b"")


class GatewaySignsTests(SigningCase):
    """The gateway has keys, of the operator or of the client."""

    def check(self, request: UpstreamRequest, keys: AwsKeys, scope: Scope) -> None:
        """The request carries the signature that AWS's SDK would have made for it."""
        names = frozenset((b"content-type",))
        fields: Headers = tuple(field for field in request.headers if field[0] == b"content-type")
        bare = UpstreamRequest(b"POST", request.url, fields, b'{"max_tokens":1}', Clocks())
        expected = dict(signed(bare, names, keys, scope, DATE))
        self.assertEqual({name: value for name, value in request.headers if name in expected}, expected)

    def test_the_operators_keys(self) -> None:
        """A client without a credential is served with the operator's, for the region in its path."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
        request = self.sent(provider, INVOKE)
        self.assertEqual(
            request.url, b"https://bedrock-runtime.eu-west-3.amazonaws.com/model/anthropic.claude-v2%3A1/invoke"
        )
        self.check(request, AwsKeys("AKIAFAKE", "fake-secret"), Scope("eu-west-3", "bedrock"))
        request = self.sent(provider, MESSAGES)
        self.check(request, AwsKeys("AKIAFAKE", "fake-secret"), Scope("us-east-1", "bedrock-mantle"))

    def test_the_clients_keys(self) -> None:
        """Keys as JSON in the Authorization header sign, go before the operator's, and are not sent."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
        for value in (CLIENT, b"Bearer " + base64.b64encode(CLIENT)):
            request = self.sent(provider, INVOKE, (b"authorization", value))
            self.check(request, AwsKeys("AKIACLIENT", "fake-client", "fake-session"), Scope("eu-west-3", "bedrock"))
            self.assertNotIn(b"fake-client", repr(request.headers).encode())

    def test_both_spellings_of_a_model_are_one_path(self) -> None:
        """A colon that a client wrote or encoded is signed and sent as AWS's SDK does it; an ARN stays one segment."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret", region="us-east-1")
        plain = self.sent(provider, "model/a.b-v1:0/converse")
        self.assertEqual(self.sent(provider, "model/a.b-v1%3A0/converse"), plain)
        self.assertEqual(plain.url, b"https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b-v1%3A0/converse")
        self.check(plain, AwsKeys("AKIAFAKE", "fake-secret"), Scope("us-east-1", "bedrock"))
        arn = self.sent(provider, "model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fp/converse")
        self.assertTrue(arn.url.endswith(b"%3Ainference-profile%2Fp/converse"))

    def test_fields_of_aws_are_signed(self) -> None:
        """A guardrail that a client names in a header is part of the signature; other headers are not."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
        request = self.sent(provider, INVOKE, (b"x-amzn-bedrock-guardrailidentifier", b"g"), (b"x-other", b"1"))
        self.assertIn(
            b"SignedHeaders=content-type;host;x-amz-date;x-amzn-bedrock-guardrailidentifier,",
            self.authorization(request),
        )

    def test_each_attempt_is_signed_anew(self) -> None:
        """A retry after a long wait carries its own date."""
        endpoint = TokenEndpoint()
        settings = {"aws-bedrock": ProviderSettings(access_key_id="AKIAFAKE", secret_access_key="fake-secret")}
        provider = ProviderTable(settings, endpoint.parts, {}).lookup("aws-bedrock")
        credentials = provider.credentials_for(INVOKE, ())
        assert credentials is not None
        request = UpstreamRequest(b"POST", provider.address(INVOKE), (), b"{}", Clocks())
        first: Any = credentials.prepare(request)
        endpoint.clock.advance(600)
        second: Any = credentials.prepare(request)
        self.assertEqual(dict(first.headers)[b"x-amz-date"], DATE.encode())
        self.assertEqual(dict(second.headers)[b"x-amz-date"], b"20260921T142320Z")

    def test_wrong_keys_are_refused_without_repeating_them(self) -> None:
        """JSON without the two keys, or with what no header may hold, is told as such."""
        provider = self.provider()
        for text in (
            b"{}",
            b'{"accessKeyId":"hunter2"}',
            b'{"accessKeyId":"hunter2","secretAccessKey":7}',
            b'{"accessKeyId":"hunter2","secretAccessKey":"a\\r\\nb"}',
            b'{"accessKeyId":"hunter2","secretAccessKey":"a","sessionToken":"a b"}',
            b'{"accessKeyId":"hunter2",',
        ):
            error = self.assertRaises(InvalidField, self.sent, provider, INVOKE, (b"authorization", text))
            self.assertIn("accessKeyId", error.message)
            self.assertNotIn("hunter2", error.message)

    def test_a_body_that_streams_through_is_refused(self) -> None:
        """What is not held cannot be signed, and says so."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
        credentials = provider.credentials_for(INVOKE, ())
        assert credentials is not None
        streaming: Any = object()
        request = UpstreamRequest(b"POST", provider.address(INVOKE), (), streaming, Clocks())
        self.assertRaises(InvalidField, credentials.prepare, request)

    def test_an_overridden_address_is_signed_for_the_region_asked(self) -> None:
        """With a private endpoint of the operator's, the path still names the region."""
        provider = self.provider(
            access_key_id="AKIAFAKE", secret_access_key="fake-secret", base_url="https://vpce-1.example"
        )
        request = self.sent(provider, INVOKE)
        self.assertEqual(request.url, b"https://vpce-1.example/model/anthropic.claude-v2%3A1/invoke")
        self.check(request, AwsKeys("AKIAFAKE", "fake-secret"), Scope("eu-west-3", "bedrock"))


class ClientSignsTests(SigningCase):
    """The client has a credential of its own."""

    def test_a_signature_passes_untouched(self) -> None:
        """What a client signed goes on as it is, path and headers included, whatever keys the operator has."""
        provider = self.provider(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
        headers = (
            (b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIACLIENT/x, SignedHeaders=host, Signature=0"),
            (b"x-amz-date", b"20260101T000000Z"),
            (b"x-amz-content-sha256", b"0"),
        )
        request = self.sent(provider, INVOKE, *headers)
        self.assertEqual(request.headers[:3], headers)
        self.assertEqual(request.url, provider.address(INVOKE))

    def test_a_token_of_the_gateway_is_no_key_of_aws(self) -> None:
        """An SDK that was given the gateway's token as its key id is signed for with the operator's keys."""
        keys = {"access_key_id": "AKIAFAKE", "secret_access_key": "fake-secret"}
        signature = b"AWS4-HMAC-SHA256 Credential=aigw_fake/20260921/us-east-1/bedrock/aws4_request, Signature=0"
        request = self.sent(self.provider(**keys), INVOKE, (b"authorization", signature), (b"x-amz-date", b"0"))
        self.assertIn(b"Credential=AKIAFAKE/", self.authorization(request))
        self.assertNotIn(b"aigw_", repr(request.headers).encode())

    def test_a_bedrock_key_passes(self) -> None:
        """Bedrock's own API keys are bearers."""
        request = self.sent(self.provider(), INVOKE, (b"authorization", b"Bearer ABSKfake"))
        self.assertEqual(self.authorization(request), b"Bearer ABSKfake")

    def test_mantle_takes_its_key_where_anthropic_does(self) -> None:
        """On Anthropic's interface a bearer becomes `x-api-key`; elsewhere, and when it is one already, it stays."""
        request = self.sent(self.provider(), MESSAGES, (b"authorization", b"Bearer ABSKfake"))
        self.assertEqual(dict(request.headers)[b"x-api-key"], b"ABSKfake")
        self.assertEqual(self.authorization(request), b"")
        request = self.sent(
            self.provider(), "bedrock-mantle/us-east-1/v1/responses", (b"authorization", b"Bearer ABSKfake")
        )
        self.assertEqual(self.authorization(request), b"Bearer ABSKfake")
        keys = {"access_key_id": "AKIAFAKE", "secret_access_key": "fake-secret"}
        request = self.sent(self.provider(**keys), MESSAGES, (b"x-api-key", b"ABSKfake"))
        self.assertEqual(self.authorization(request), b"")

    def test_without_any_credential_nothing_is_made(self) -> None:
        """AWS itself says what is missing."""
        self.assertEqual(self.authorization(self.sent(self.provider(), INVOKE)), b"")
