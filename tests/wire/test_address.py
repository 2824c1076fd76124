"""The addresses of the data port."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import NotFound
from aigw.wire.address import Address, read_address


class AddressTests(SynchronousTestCase):
    """Targets of requests, taken apart."""

    def test_gateway(self) -> None:
        """A gateway's address is read with and without a slash and a query string."""
        for uri in (b"/v1/acme/g-1", b"/v1/acme/g-1/", b"/v1/acme/g-1?x=/y", b"/v1/acme/g-1/?x"):
            self.assertEqual(read_address(uri), Address("acme", "g-1"), uri)

    def test_provider(self) -> None:
        """What stands behind a gateway is a provider, and its endpoint exactly as it was written."""
        for rest, provider, endpoint in (
            (b"openai", "openai", ""),
            (b"openai/", "openai", ""),
            (b"openai?model=x", "openai", "?model=x"),
            (b"openai/chat/completions?a=%2F&b", "openai", "chat/completions?a=%2F&b"),
            (b"openai/a%2Fb//c", "openai", "a%2Fb//c"),
            (b"openai/caf\xc3\xa9", "openai", "caf\u00c3\u00a9"),
            (b"custom-x/y?z?w#v", "custom-x", "y?z?w#v"),
        ):
            self.assertEqual(read_address(b"/v1/a/g/" + rest), Address("a", "g", provider, endpoint), rest)

    def test_none(self) -> None:
        """What names no gateway is 404."""
        for uri in (
            *(b"", b"/", b"/v1", b"/v1/a", b"/v1//g", b"/v2/a/g", b"//v1/a/g", b"*", b"v1/a/g", b"http://h/v1/a/g"),
            *(
                b"/v1/a/g//openai/x",
                b"/v1/a/g/openai//x",
                b"/v1/a/../g/openai",
                b"/v1/a/g/%2e%2e/x",
                b"/v1/a/g/.",
                b"/v1/a b/g",
            ),
            *(b"/v1/a/" + b"g" * 65, b"/v1/a/g%00", b"/v1/a/g\n", b"/v1/a/caf%C3%A9", b"/v1/a/g/@x", b"/v1/a/g#x"),
        ):
            self.assertRaises(NotFound, read_address, uri)

    @given(st.binary(max_size=40))
    def test_anything(self, rest: bytes) -> None:
        """Whatever is asked for is an address or 404, and an address never has a provider that could be a host."""
        try:
            address = read_address(b"/v1/a/" + rest)
        except NotFound:
            return
        self.assertRegex(f"{address.gateway}{address.provider}", r"\A[A-Za-z0-9_-]+\Z")
