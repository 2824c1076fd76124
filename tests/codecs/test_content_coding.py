"""Content codings, undone however they are cut, and never without a bound."""

from __future__ import annotations

import gzip
import itertools
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.content_coding import PIECE_BYTES, ContentDecoder, coding_of
from aigw.errors import InvalidAnswer, ResponseTooLarge

TEXT = b"The tide comes in. " * 50


def raw_deflate(data: bytes) -> bytes:
    """What some servers call `deflate`: without the head of RFC 1950."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def decode(coding: str, *chunks: bytes, max_bytes: int = 1 << 20) -> tuple[bytes, bool]:
    """The body that these chunks stand for, and whether it is whole."""
    decoder = ContentDecoder(coding, max_bytes)
    return b"".join([decoder.feed(chunk) for chunk in chunks]), decoder.finished


class CodingOfTests(SynchronousTestCase):
    """Which coding a body has."""

    def test_known(self) -> None:
        """Plain bodies and the codings that every server knows."""
        for told, coding in (
            (None, ""),
            (b"", ""),
            (b"identity", ""),
            (b"gzip", "gzip"),
            (b"GZIP ", "gzip"),
            (b"x-gzip", "gzip"),
            (b"deflate", "deflate"),
            (b"identity, gzip", "gzip"),
        ):
            headers = () if told is None else ((b"content-encoding", told),)
            self.assertEqual(coding_of(headers), coding, told)

    def test_unknown(self) -> None:
        """What nobody asked for and nobody here undoes is no usable answer."""
        for headers in (
            ((b"content-encoding", b"br"),),
            ((b"content-encoding", b"gzip, gzip"),),
            ((b"content-encoding", b"gzip"), (b"content-encoding", b"deflate")),
            ((b"content-encoding", b"\xff" * 1000),),
        ):
            error = self.assertRaises(InvalidAnswer, coding_of, headers)
            self.assertLess(len(error.message), 400)


class DecoderTests(SynchronousTestCase):
    """Bodies, cut anywhere."""

    @given(
        st.binary(max_size=2000), st.sampled_from(["gzip", "zlib", "raw"]), st.lists(st.integers(0, 3000), max_size=5)
    )
    @settings(max_examples=150, deadline=None)
    def test_any_split_gives_the_body(self, body: bytes, form: str, cuts: list[int]) -> None:
        """However the network cuts a coded body, what was coded comes out, and the body is whole."""
        data = {"gzip": gzip.compress, "zlib": zlib.compress, "raw": raw_deflate}[form](body)
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
        self.assertEqual(decode("gzip" if form == "gzip" else "deflate", *chunks), (body, True))

    def test_two_files_in_one_body(self) -> None:
        """A gzip body may be several files, also when a chunk ends where a file does."""
        first, second = gzip.compress(b"one"), gzip.compress(b"two")
        self.assertEqual(decode("gzip", first + second), (b"onetwo", True))
        self.assertEqual(decode("gzip", first, second), (b"onetwo", True))
        self.assertEqual(decode("gzip", first, second[:5]), (b"one", False))

    def test_padding_is_passed_over(self) -> None:
        """Zeros behind the end are no content."""
        self.assertEqual(decode("gzip", gzip.compress(TEXT) + b"\0\0", b"\0"), (TEXT, True))

    def test_cut_body_is_not_finished(self) -> None:
        """A body without its end says so."""
        for coding, data in (("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT))):
            self.assertFalse(decode(coding, data[:-1])[1])
            self.assertFalse(decode(coding, data[:1])[1])

    def test_empty_body_is_whole(self) -> None:
        """A body of nothing, as behind a 204, lacks nothing."""
        self.assertEqual(decode("gzip"), (b"", True))

    def test_damage(self) -> None:
        """Bytes that are of no such coding are no usable answer."""
        damaged = bytearray(gzip.compress(TEXT))
        damaged[-6] ^= 0xFF
        for coding, data in (("gzip", b"nonsense"), ("deflate", b"\xff\xff\xff"), ("gzip", bytes(damaged))):
            self.assertRaises(InvalidAnswer, decode, coding, data)

    def test_bomb_ends_at_the_bound(self) -> None:
        """A chunk that would become more than allowed is given up soon after the bound, not at its end."""
        bomb = gzip.compress(b"\0" * (1 << 26))
        self.assertRaises(ResponseTooLarge, decode, "gzip", bomb, max_bytes=1 << 20)

    def test_large_pieces_are_whole(self) -> None:
        """A body of exactly as many bytes as are inflated at a time comes out whole."""
        for size in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES):
            self.assertEqual(decode("gzip", gzip.compress(b"\0" * size)), (b"\0" * size, True))
