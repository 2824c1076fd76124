"""Bytes kept for the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.capture import Capture


class CaptureTests(SynchronousTestCase):
    """The beginning of a body, up to a bound."""

    @given(st.lists(st.binary(max_size=10), max_size=10), st.integers(0, 40))
    def test_beginning_is_kept(self, chunks: list[bytes], limit_bytes: int) -> None:
        """Whatever the chunks, the log has the body's first bytes, its length, and whether something is missing."""
        capture, whole = Capture(limit_bytes), b"".join(chunks)
        for chunk in chunks:
            capture.add(chunk)
        self.assertEqual(capture.body(), whole[:limit_bytes])
        self.assertEqual((capture.total_bytes, capture.cut), (len(whole), len(whole) > limit_bytes))
