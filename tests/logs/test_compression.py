"""Tests of aigw.logs.compression."""

from __future__ import annotations

import os

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.logs.compression import PIECE_BYTES, compressed, decompressed


def frame_of(body: bytes) -> tuple[bytes, int]:
    """The whole frame, and how often the reactor had a turn."""
    work, turns = compressed(body), 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value, turns
        turns += 1


class CompressionTests(SynchronousTestCase):
    """Bodies there and back."""

    @given(st.binary(max_size=2000), st.integers(0, 2500))
    def test_comes_back(self, body: bytes, limit: int) -> None:
        """A stored body reads as it was, or as its beginning when that is all that was asked for."""
        frame, _ = frame_of(body)
        self.assertEqual(decompressed(frame, limit), (body[:limit], len(body) <= limit))

    def test_a_long_body_does_not_hold_up_the_reactor(self) -> None:
        """A body of megabytes is compressed in pieces, into one frame."""
        body = os.urandom(PIECE_BYTES * 4 + 1)
        frame, turns = frame_of(body)
        self.assertGreaterEqual(turns, 4)
        self.assertEqual(zstandard.ZstdDecompressor().decompress(frame), body)

    def test_a_bomb_is_read_no_further_than_asked(self) -> None:
        """A stored megabyte of nothing costs its reader what was asked for, not what it unpacks to."""
        frame, _ = frame_of(bytes(10_000_000))
        data, whole = decompressed(frame, 1000)
        self.assertEqual((len(data), whole), (1000, False))
