"""What is read out of a request's head, and what is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import GatewayError, MalformedRequest, RequestTooLarge
from aigw.serving.head import RequestHead, read_head

HOST = b"\r\nHost: a"


def read(head: bytes, most_bytes: int = 4_096, most_headers: int = 20) -> RequestHead:
    """Read a head with small bounds."""
    return read_head(head, most_bytes, most_headers)


class HeadTests(SynchronousTestCase):
    """Heads that are good."""

    def test_parts(self) -> None:
        """Method, target and version come out as sent; names in lower case, values without the space around them."""
        head = read(b"POST /a?b=c HTTP/1.1\r\nHost: a:80\r\nX-One:  1 \t\r\nx-one:\r\nX-Two: a\tb\xff")
        self.assertEqual((head.method, head.target, head.version), (b"POST", b"/a?b=c", b"HTTP/1.1"))
        fields = [(b"host", b"a:80"), (b"x-one", b"1"), (b"x-one", b""), (b"x-two", b"a\tb\xff")]
        self.assertEqual(head.headers.fields, fields)
        self.assertEqual(head.headers.getRawHeaders(b"X-ONE"), [b"1", b""])
        self.assertEqual(head.headers.getRawHeaders("x-one"), ["1", ""])
        self.assertEqual((head.headers.getRawHeaders(b"no"), head.headers.getRawHeaders("no", 1)), (None, 1))
        self.assertEqual((head.headers.hasHeader("Host"), head.headers.hasHeader(b"no")), (True, False))
        self.assertEqual(dict(head.headers.getAllRawHeaders())[b"x-one"], [b"1", b""])

    def test_length(self) -> None:
        """A body has the length that was told, none, or comes in chunks."""
        for line, length in (
            (b"", 0),
            (b"\r\nContent-Length: 0", 0),
            (b"\r\nContent-Length: 0012", 12),
            (b"\r\nTransfer-Encoding: Chunked", None),
        ):
            self.assertEqual(read(b"POST / HTTP/1.1" + HOST + line).length, length)

    def test_keeps(self) -> None:
        """A connection is kept unless the client closes it, wherever in a list it says so, or is of the old kind."""
        for line, version, keeps in (
            (b"", b"1.1", True),
            (b"\r\nConnection: keep-alive", b"1.1", True),
            (b"\r\nConnection: Close", b"1.1", False),
            (b"\r\nConnection: upgrade,close", b"1.1", False),
            (b"\r\nConnection: x\r\nConnection: close", b"1.1", False),
            (b"\r\nConnection: keep-alive", b"1.0", False),
        ):
            self.assertEqual(read(b"GET / HTTP/" + version + HOST + line).keeps, keeps, line)

    def test_expects(self) -> None:
        """Only a client of the new kind waits to be told to go on."""
        line = b"\r\nExpect: 100-Continue"
        self.assertTrue(read(b"GET / HTTP/1.1" + HOST + line).expects)
        self.assertFalse(read(b"GET / HTTP/1.0" + HOST + line).expects)
        self.assertFalse(read(b"GET / HTTP/1.1" + HOST + b"\r\nExpect: other").expects)

    def test_hosts(self) -> None:
        """Names, addresses and ports are hosts; clients of the old kind need not send one."""
        for host in (b"a", b"a:1", b"a:", b"[::1]:80", b"a_b.c~d"):
            read(b"GET / HTTP/1.1\r\nHost: " + host)
        read(b"GET / HTTP/1.0")


class RefusalTests(SynchronousTestCase):
    """Heads that are refused."""

    def assert_refused(self, head: bytes, error: type[GatewayError] = MalformedRequest) -> None:
        """This is no head."""
        with self.assertRaises(error, msg=head[:60]):
            read(head)

    def test_request_lines(self) -> None:
        """A request line is a token, a target without spaces, and a version of HTTP/1."""
        for line in (
            *(b"", b"GET /", b"GET  / HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1"),
            *(b"GET / HTTP/2.0", b"GET / HTTP/1.2", b"GET / http/1.1", b"G(T / HTTP/1.1", b"GET \xff HTTP/1.1"),
            *(b"GET\t/ HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET /\x00 HTTP/1.1"),
        ):
            self.assert_refused(line + HOST)

    def test_lines(self) -> None:
        """A line without a colon or a name, with a space before the colon, or folded, is no header."""
        for line in (b"no colon", b": 1", b"X : 1", b"X\t: 1", b" X: 1", b"\tX: 1", b"X(: 1", b"X\xe4: 1", b""):
            self.assert_refused(b"GET / HTTP/1.1" + HOST + b"\r\n" + line)

    def test_line_ends(self) -> None:
        """What only some take for the end of a line is refused, wherever it stands."""
        good = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1"
        for end in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00", b"\x0b", b"\x85\n"):
            for at in range(len(good) + 1):
                self.assert_refused(good[:at] + end + b"Content-Length: 5" + good[at:])

    def test_framing(self) -> None:
        """Whatever leaves a doubt about where the body ends."""
        for lines in (
            *(
                b"Content-Length: 1\r\nContent-Length: 1",
                b"Content-Length: 1, 1",
                b"Content-Length:",
                b"Content-Length: +1",
            ),
            *(b"Content-Length: -1", b"Content-Length: 1_0", b"Content-Length: 0x1", b"Content-Length: \xb2"),
            *(b"Content-Length: " + b"9" * 500, b"Content-Length: 0\r\nTransfer-Encoding: chunked"),
            *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:"),
        ):
            self.assert_refused(b"POST / HTTP/1.1" + HOST + b"\r\n" + lines)
        self.assert_refused(b"POST / HTTP/1.0" + HOST + b"\r\nTransfer-Encoding: chunked")

    def test_hosts(self) -> None:
        """No host, two, or what is none."""
        for lines in (
            b"",
            b"\r\nHost: a\r\nHost: a",
            b"\r\nHost:",
            b"\r\nHost: a b",
            b"\r\nHost: a/b",
            b"\r\nHost: a@b:c",
        ):
            self.assert_refused(b"GET / HTTP/1.1" + lines)

    def test_bounds(self) -> None:
        """As many bytes and headers as allowed, and no more."""
        room = 4_096 - len(b"GET / HTTP/1.1Host: aX: ")
        for over, error in ((0, None), (1, MalformedRequest), (5000, RequestTooLarge)):
            head = b"GET / HTTP/1.1" + HOST + b"\r\nX: " + b"x" * (room + over)
            if error is None:
                read(head)
            else:
                self.assert_refused(head, error)
        read(b"GET / HTTP/1.1" + HOST + b"\r\nX: 1" * 19)
        self.assert_refused(b"GET / HTTP/1.1" + HOST + b"\r\nX: 1" * 20)

    @given(st.binary(max_size=200), st.sampled_from((b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n")))
    def test_anything(self, data: bytes, before: bytes) -> None:
        """Any bytes are a head or are refused; nothing else comes of them."""
        try:
            head = read(before + data)
        except GatewayError:
            return
        self.assertTrue(head.headers.hasHeader(b"host") or head.version == b"HTTP/1.0")
