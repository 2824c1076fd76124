"""The opening of a WebSocket, byte by byte."""

from __future__ import annotations

import base64
import hashlib

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidAnswer, InvalidField
from aigw.upstream.upgrade import UpgradeAnswer, upgrade_head

# The example of RFC 6455, section 1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n"
)


def read(*pieces: bytes, offered: tuple[str, ...] = ("a", "b"), limit_bytes: int = 4096) -> UpgradeAnswer:
    """An answer out of pieces."""
    answer = UpgradeAnswer(KEY, offered, limit_bytes)
    for piece in pieces:
        answer.feed(piece)
    return answer


class HeadTests(SynchronousTestCase):
    def test_what_is_asked(self) -> None:
        """The request has one of each header of the handshake, whatever the caller adds."""
        head = upgrade_head(b"/x?y=1", b"h.test", ((b"upgrade", b"h2c"), (b"x-own", b"1")), ("a", "b"), KEY)
        lines = head.split(b"\r\n")
        self.assertEqual(lines[:2], [b"GET /x?y=1 HTTP/1.1", b"host: h.test"])
        for line in (b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-protocol: a, b", b"x-own: 1"):
            self.assertEqual(lines.count(line), 1, line)
        self.assertNotIn(b"h2c", head)
        self.assertTrue(head.endswith(b"\r\n\r\n"))

    def test_forged_line(self) -> None:
        """Nothing that is asked for can end its line."""
        for offered in (("a\r\nx: y",), ("a\0",)):
            self.assertRaises(InvalidField, upgrade_head, b"/", b"h", (), offered, KEY)


class AnswerTests(SynchronousTestCase):
    def test_accept_is_that_of_the_rfc(self) -> None:
        """The proof that is expected is the one of the standard."""
        made = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.assertEqual(made, ACCEPT)

    def test_any_cut(self) -> None:
        """Wherever the network cuts it, an answer is the same, and the first frames behind it are kept."""
        whole = AGREED + b"Sec-WebSocket-Protocol: b\r\n\r\n\x81\x02hi"
        end = whole.index(b"\x81")
        for at in range(1, end):
            answer = UpgradeAnswer(KEY, ("a", "b"), 4096)
            answer.feed(whole[:at])
            self.assertFalse(answer.complete)
            answer.feed(whole[at:])
            self.assertEqual((answer.complete, answer.subprotocol, answer.rest), (True, "b", b"\x81\x02hi"), at)

    def test_interim_answers(self) -> None:
        """A `103 Early Hints` before the real answer is passed over."""
        answer = read(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", AGREED + b"\r\n")
        self.assertTrue(answer.complete)
        self.assertNotIn(b"link", dict(answer.fields))

    def test_what_was_not_asked_for(self) -> None:
        """Another accept, two of them, an extension, or a subprotocol that was not offered: none is a WebSocket."""
        for answer in (
            AGREED.replace(ACCEPT, b"x") + b"\r\n",
            AGREED + b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n",
            AGREED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            AGREED + b"Sec-WebSocket-Protocol: c\r\n\r\n",
            AGREED + b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n",
            AGREED.replace(b"Upgrade: websocket\r\n", b"") + b"\r\n",
            AGREED.replace(b"Connection: keep-alive, Upgrade\r\n", b"") + b"\r\n",
            AGREED.replace(b": websocket", b": h2c") + b"\r\n",
        ):
            self.assertRaises(InvalidAnswer, read, answer)

    def test_refusal(self) -> None:
        """A refusal is complete with its body, chunked or not, and what stands behind it is nobody's."""
        for body in (
            b"content-length: 5\r\n\r\nhello",
            b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"content-length: 5\r\n\r\nhelloHTTP/1.1 200 x\r\n\r\n",
        ):
            answer = read(b"HTTP/1.1 401 Unauthorized\r\n" + body)
            self.assertEqual((answer.complete, answer.status, answer.body), (True, 401, b"hello"))

    def test_bounds(self) -> None:
        """Neither head nor body of an answer grows without end."""
        self.assertRaises(InvalidAnswer, read, b"HTTP/1.1 401 x\r\n", *[b"x: y\r\n"] * 1000)
        answer = read(b"HTTP/1.1 401 x\r\n\r\n", b"y" * 5000)
        self.assertEqual((answer.complete, len(answer.body)), (True, 4096))
