"""What goes on the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidField
from aigw.upstream.request import request_head, site, split_url


class RequestTests(SynchronousTestCase):
    def test_head(self) -> None:
        """Fields go out as given, in order; Host, Content-Length and Accept-Encoding are added."""
        head = request_head(b"POST", b"/v1?x=1", b"p.test", ((b"x-b", b"2"), (b"x-a", b"1"), (b"x-b", b"3")), 7)
        self.assertEqual(
            head,
            b"POST /v1?x=1 HTTP/1.1\r\nhost: p.test\r\nx-b: 2\r\nx-a: 1\r\nx-b: 3\r\n"
            b"accept-encoding: identity\r\ncontent-length: 7\r\n\r\n",
        )

    def test_own_encoding_is_kept(self) -> None:
        """A client that asks for compression itself gets what it asked for."""
        head = request_head(b"GET", b"/", b"p.test", ((b"accept-encoding", b"gzip"),), 0)
        self.assertEqual(head, b"GET / HTTP/1.1\r\nhost: p.test\r\naccept-encoding: gzip\r\n\r\n")

    def test_length_is_always_told(self) -> None:
        """A POST without a body says so; the methods that have none by nature say nothing."""
        self.assertIn(b"content-length: 0", request_head(b"POST", b"/", b"p", (), 0))
        self.assertNotIn(b"content-length", request_head(b"HEAD", b"/", b"p", (), 0))

    def test_unknown_length(self) -> None:
        """A body whose length nobody knows is announced as chunked, and not with a length beside it."""
        head = request_head(b"PUT", b"/", b"p", (), None)
        self.assertIn(b"\r\ntransfer-encoding: chunked\r\n", head)
        self.assertNotIn(b"content-length", head)

    def test_methods(self) -> None:
        """A method cannot bring a request line of its own, nor ask for a tunnel or for the keys in our headers."""
        for method in (b"GET /x HTTP/1.1\r\nA:", b"GET /x", b"", b"get", b"G\0T", b"CONNECT", b"TRACE"):
            with self.assertRaises(InvalidField):
                request_head(method, b"/", b"p", (), 0)

    def test_connection_fields_are_ours(self) -> None:
        """No caller can split or hijack a request by the fields that frame it."""
        fields = (
            (b"transfer-encoding", b"chunked"),
            (b"Content-Length", b"1"),
            (b"HOST", b"evil.test"),
            (b"connection", b"upgrade"),
            (b"upgrade", b"h2c"),
            (b"expect", b"100-continue"),
            (b"ok", b"1"),
        )
        head = request_head(b"POST", b"/", b"p.test", fields, 3)
        self.assertEqual(
            head,
            b"POST / HTTP/1.1\r\nhost: p.test\r\nok: 1\r\naccept-encoding: identity\r\ncontent-length: 3\r\n\r\n",
        )

    def test_line_breaks_are_refused(self) -> None:
        """A value cannot bring a field, or a request, of its own."""
        for value in (b"a\r\nb: c", b"a\nb: c", b"a\rb", b"a\0b", b"\r\n\r\nGET / HTTP/1.1"):
            with self.assertRaises(InvalidField):
                request_head(b"POST", b"/", b"p.test", ((b"x", value),), 0)

    @given(st.binary(max_size=20), st.binary(max_size=20))
    def test_nothing_breaks_out_of_its_line(self, name: bytes, value: bytes) -> None:
        """Whatever a field's name and value hold, the request has the lines that it should, or is refused."""
        try:
            head = request_head(b"POST", b"/", b"p.test", ((name, value),), 0)
        except InvalidField:
            return
        lines = head[:-4].split(b"\r\n")
        self.assertIn(len(lines), (4, 5) if name.lower() != b"accept-encoding" else (3, 4))
        self.assertFalse(any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines))

    def test_sites(self) -> None:
        """Scheme, host and port, spelled in every usual way."""
        for origin, expected in (
            (b"https://api.test", (True, "api.test", 443, b"api.test")),
            (b"http://api.test:80", (False, "api.test", 80, b"api.test")),
            (b"https://api.test:8443", (True, "api.test", 8443, b"api.test:8443")),
            (b"http://127.0.0.1:9", (False, "127.0.0.1", 9, b"127.0.0.1:9")),
            (b"http://[::1]:9", (False, "::1", 9, b"[::1]:9")),
        ):
            place = site(origin)
            self.assertEqual((place.secure, place.host, place.port, place.header), expected)

    def test_split(self) -> None:
        """Where the origin ends and the target begins."""
        self.assertEqual(split_url(b"https://a/b/c?d=//e"), (b"https://a", b"/b/c?d=//e"))
        self.assertEqual(split_url(b"http://a"), (b"http://a", b"/"))
        self.assertEqual(split_url(b"sandbox://a/v1"), (b"sandbox://a", b"/v1"))
