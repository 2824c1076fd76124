"""Signatures, compared with those of AWS's own SDK."""

from __future__ import annotations

from urllib.parse import quote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sigv4 import AwsKeys, Scope, signed
from aigw.values.step import Clocks, Headers, UpstreamRequest

DATE = "20261010T101112Z"
KEYS = AwsKeys("AKIAFAKE", "fake/secret+key", "fake-session")

# Segments as they stand on the wire: encoded once, never empty, never dots only.
SEGMENTS = st.text(min_size=1, max_size=12).filter(lambda text: text.strip(".")).map(lambda text: quote(text, safe=""))
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda segments: "/" + "/".join(segments))
QUERIES = st.lists(
    st.tuples(st.text(max_size=6), st.text(max_size=6)).map(lambda pair: "=".join(quote(one, safe="") for one in pair)),
    max_size=4,
).map("&".join)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
FIELDS = st.dictionaries(st.sampled_from(("content-type", "accept", "x-amzn-bedrock-trace")), VALUES)


def oracle(request: UpstreamRequest, names: frozenset[bytes], keys: AwsKeys, scope: Scope) -> dict[str, str]:
    """The header fields that botocore makes, names in lower case."""
    headers = {name.decode(): value.decode() for name, value in request.headers if name in names}
    theirs = AWSRequest(request.method.decode(), request.url.decode(), headers, request.body)
    signer_class = S3SigV4Auth if scope.service == "s3" else SigV4Auth
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token or None)
    signer = signer_class(credentials, scope.service, scope.region)
    # What `add_auth` does, but at a time of our choice.
    theirs.context["timestamp"] = DATE
    signer._modify_request_before_signing(theirs)
    to_sign = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    signer._inject_signature_to_request(theirs, signer.signature(to_sign, theirs))
    return {name.lower(): value for name, value in theirs.headers.items()}


def request(url: str, headers: Headers = (), body: bytes = b"{}", method: bytes = b"POST") -> UpstreamRequest:
    """A request to be signed."""
    return UpstreamRequest(method, url.encode(), headers, body, Clocks())


class SignatureTests(SynchronousTestCase):
    """What AWS checks is what its own SDK would have sent."""

    def same(self, asked: UpstreamRequest, scope: Scope, keys: AwsKeys = KEYS) -> None:
        names = frozenset(name for name, _ in asked.headers)
        ours = {name.decode(): value.decode() for name, value in signed(asked, names, keys, scope, DATE)}
        theirs = oracle(asked, names, keys, scope)
        self.assertEqual(ours["authorization"], theirs["authorization"])
        self.assertEqual({name: ours[name] for name in theirs}, theirs)

    @given(PATHS, QUERIES, FIELDS, st.binary(max_size=64), st.sampled_from(("bedrock", "bedrock-mantle", "s3")))
    @example("/model/anthropic.claude-v2%3A1/invoke", "", {}, b"{}", "bedrock")
    @example("/bucket/a%2Fb%20c", "partNumber=1&uploadId=x", {}, b"", "s3")
    def test_byte_for_byte_as_botocore(
        self, path: str, query: str, fields: dict[str, str], body: bytes, service: str
    ) -> None:
        """Any path, query, header and body is signed as botocore signs it."""
        headers = tuple((name.encode(), value.encode()) for name, value in fields.items())
        url = f"https://bedrock-runtime.us-east-1.amazonaws.com{path}" + (f"?{query}" if query else "")
        self.same(request(url, headers, body), Scope("us-east-1", service))

    def test_permanent_keys_send_no_session(self) -> None:
        """Without a session token there is no such header, and the signature is still botocore's."""
        keys = AwsKeys("AKIAFAKE", "fake-secret")
        asked = request("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse")
        self.same(asked, Scope("eu-west-1", "bedrock"), keys)
        names = {name for name, _ in signed(asked, frozenset(), keys, Scope("eu-west-1", "bedrock"), DATE)}
        self.assertEqual(names, {b"x-amz-date", b"authorization"})

    def test_ports_and_methods(self) -> None:
        """The signed host is the one that is sent: with a port only where it is unusual."""
        for url in (
            "http://127.0.0.1:8080/a",
            "http://h:80/a",
            "https://h:443/",
            "https://h:8443",
            "https://[::1]:9/x",
        ):
            for method in (b"GET", b"PUT"):
                self.same(request(url, method=method, body=b""), Scope("us-east-1", "bedrock"))

    def test_fields_that_are_not_named_stay_unsigned(self) -> None:
        """A header that proxies may change is sent, but the signature does not depend on it."""
        url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke"
        scope = Scope("us-east-1", "bedrock")
        fields = ((b"content-type", b"application/json"), (b"x-other", b"1"), (b"user-agent", b"me"))
        names = frozenset((b"content-type", b"user-agent"))
        found = dict(signed(request(url, fields), names, KEYS, scope, DATE))
        self.assertEqual(found[b"x-other"], b"1")
        self.assertIn(b"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,", found[b"authorization"])

    def test_a_stale_signature_is_replaced(self) -> None:
        """Signing once more leaves one signature and one date."""
        url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke"
        scope = Scope("us-east-1", "bedrock")
        first = signed(request(url), frozenset(), KEYS, scope, "20260101T000000Z")
        again = signed(request(url, first), frozenset(), KEYS, scope, DATE)
        self.assertEqual(again, signed(request(url), frozenset(), KEYS, scope, DATE))

    def test_secrets_stay_out_of_representations(self) -> None:
        """Neither the secret nor the session shows where keys are logged."""
        self.assertEqual(repr(KEYS), "AwsKeys(access_key_id='AKIAFAKE')")
