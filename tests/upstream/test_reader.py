"""Answers from bytes, wherever the network split them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidAnswer
from aigw.upstream.reader import AnswerReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;note=1\r\ndata:\r\n3\r\n x\n\r\n1\r\n\n\r\n0\r\nX-Trailer: t\r\n\r\n"
)


def read(*pieces: bytes, bodiless: bool = False, head_bytes: int = 4096) -> tuple[AnswerReader, InvalidAnswer | None]:
    reader = AnswerReader(head_bytes, 16)
    reader.expect(bodiless)
    error = None
    for piece in pieces:
        error = error or reader.feed(piece)
    return reader, error


class ReaderTests(SynchronousTestCase):
    def test_split_at_every_byte(self) -> None:
        """A chunked answer reads the same whichever byte the network cut it at."""
        for at in range(len(CHUNKED) + 1):
            reader, error = read(CHUNKED[:at], CHUNKED[at:])
            self.assertIsNone(error)
            self.assertEqual((b"".join(reader.pieces), reader.complete), (b"data: x\n\n", True), at)
            self.assertEqual([name for name, _ in reader.fields], [b"content-type", b"x-empty", b"transfer-encoding"])
            self.assertTrue(reader.keep_alive)
            self.assertFalse(reader.surplus)

    def test_byte_by_byte(self) -> None:
        """An answer that drips in one byte at a time is whole in the end."""
        reader, error = read(*(bytes([byte]) for byte in CHUNKED))
        self.assertEqual((error, b"".join(reader.pieces), reader.complete), (None, b"data: x\n\n", True))

    def test_interim_answers_are_passed_over(self) -> None:
        """`100 Continue` and early hints before the answer are no answer, and their fields not the answer's."""
        data = (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok"
        )
        for at in range(len(data) + 1):
            reader, error = read(data[:at], data[at:])
            self.assertEqual((error, reader.status, reader.fields), (None, 201, [(b"content-length", b"2")]))
            self.assertTrue(reader.complete)

    def test_no_body_by_status(self) -> None:
        """204 and 304 end with their head, and the connection goes on."""
        for status in (b"204 No Content", b"304 Not Modified"):
            reader, _ = read(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
            self.assertEqual((reader.complete, reader.keep_alive, reader.pieces), (True, True, []))

    def test_no_body_after_head(self) -> None:
        """An answer to HEAD has no body, whatever length it tells; the next answer is read as usual."""
        reader, _ = read(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", bodiless=True)
        self.assertEqual((reader.complete, reader.keep_alive, reader.surplus), (True, True, False))
        reader.expect(bodiless=False)
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual((reader.complete, reader.pieces), (True, [b"ok"]))

    def test_until_close(self) -> None:
        """A body without length or chunks is never complete by itself."""
        reader, _ = read(b"HTTP/1.1 200 OK\r\n\r\nsome", b"more")
        self.assertEqual((reader.complete, reader.close_delimited), (False, True))
        reader, _ = read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        self.assertFalse(reader.close_delimited)
        reader, _ = read(CHUNKED[:-5])
        self.assertFalse(reader.close_delimited)

    def test_next_answer_on_the_same_connection(self) -> None:
        """Nothing of one answer is left in the next."""
        reader, _ = read(CHUNKED)
        reader.expect(bodiless=False)
        self.assertIsNone(reader.feed(b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\n!"))
        self.assertEqual((reader.status, reader.fields), (500, [(b"content-length", b"1")]))
        self.assertEqual(reader.pieces, [b"!"])

    def test_more_than_was_asked_for(self) -> None:
        """Bytes behind an answer do it no harm, but are told, so that the connection is not used again."""
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        for data in (whole + whole, whole + b"garbage", closing + b"x", CHUNKED + b"HTTP/1.1 2"):
            reader, error = read(data)
            self.assertEqual((error, reader.complete, reader.surplus), (None, True, True), data)
        reader, error = read(whole.replace(b"ok", b"okHTTP/1.1 200 OK\r\n\r\nbody"), bodiless=True)
        self.assertEqual((error, reader.complete, reader.surplus, reader.pieces), (None, True, True, []))

    def test_no_http(self) -> None:
        """What is no HTTP is called so."""
        bad = (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        )
        for data in bad:
            reader, error = read(data)
            self.assertIsInstance(error, InvalidAnswer, data)
            self.assertFalse(reader.complete)

    def test_head_that_never_ends(self) -> None:
        """A head is bounded however it grows: in one line, in many, in interim answers, in trailers."""
        status = b"HTTP/1.1 200 OK\r\n"
        growing = (
            (status + b"X: ", *[b"y" * 500] * 10),
            (status, *[b"X: " + b"y" * 490 + b"\r\n"] * 10),
            (status, *[b"X: y\r\n"] * 17, b"\r\n"),
            (*[b"HTTP/1.1 100 Continue\r\nX: " + b"y" * 500 + b"\r\n\r\n"] * 10,),
            (status + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"X: " + b"y" * 490 + b"\r\n"] * 10),
            (status + b"Transfer-Encoding: chunked\r\n\r\n1;x=", *[b"y" * 500] * 10),
            (status + b"X: " + b"y" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",),
        )
        for pieces in growing:
            self.assertIsInstance(read(*pieces)[1], InvalidAnswer, pieces[0])

    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_any_bytes(self, data: bytes, at: int) -> None:
        """No bytes whatever make the reader raise."""
        read(data[:at], data[at:])
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data[:at], data[at:])
