"""Credentials that clients bring as JSON."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.credentials import CREDENTIAL_BYTES, json_credential, with_header


class JsonCredentialTests(SynchronousTestCase):
    """Which values of `authorization` hold a JSON object."""

    def test_every_way_to_write_one(self) -> None:
        """Plain or in base64, padded or not, with Bearer or without, it is the same object."""
        for text in (b'{"a":"b"}', b'{\n  "a": "bc"\n}', b"{}"):
            encoded = base64.b64encode(text)
            for value in (text, encoded, encoded.rstrip(b"="), b"Bearer " + encoded, b"bearer  " + text):
                self.assertEqual(json_credential(value), text, value)

    def test_other_credentials_pass(self) -> None:
        """Signatures, tokens, keys and whatever is too long are none."""
        for value in (
            b"AWS4-HMAC-SHA256 Credential=AKIAFAKE/20261010/us-east-1/bedrock/aws4_request",
            b"Bearer ya29.fake",
            b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmVk",
            b"Bearer ABSKQmVkcm9ja0FQSUtleS1mYWtl",
            b"Bearer ",
            b"",
            b"Bearer " + base64.b64encode(b"{" + b" " * CREDENTIAL_BYTES),
        ):
            self.assertIsNone(json_credential(value), value)

    @given(st.binary(max_size=40))
    def test_nothing_makes_it_raise(self, value: bytes) -> None:
        """Any bytes are judged without an error."""
        for prefix in (b"", b"Bearer ", b"e"):
            json_credential(prefix + value)


class HeaderTests(SynchronousTestCase):
    """Replacing a header."""

    def test_one_remains(self) -> None:
        """A credential that was made takes the place of every one that was sent."""
        fields = ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
        self.assertEqual(with_header(fields, b"a", b"4"), ((b"b", b"2"), (b"a", b"4")))
