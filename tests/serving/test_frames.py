"""Frames that are read without Autobahn's parser, and those that are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.frames import text_frame, whole_message

KEY = b"\x11\x02\xf3\x84"
MOST = 100_000


def frame(payload: bytes, first: int = 0x81, key: bytes = KEY) -> bytes:
    """A masked frame of a client."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65_536:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return head + key + masked


class ClientTests(SynchronousTestCase):
    @given(st.binary(max_size=3_000), st.binary(min_size=4, max_size=4), st.booleans(), st.binary(max_size=20))
    def test_payload_is_unmasked(self, payload: bytes, key: bytes, binary: bool, before: bytes) -> None:
        """Whatever the key and the length, the client's bytes come out, and what follows stays."""
        sent = frame(payload, 0x82 if binary else 0x81, key)
        for rest in (b"", b"\x81"):
            found = whole_message(before + sent + rest, len(before), MOST)
            self.assertEqual(found, (payload, binary, len(before) + len(sent)))

    def test_lengths_around_the_borders(self) -> None:
        """The two spellings of a length meet without a gap; the third is not for here."""
        for length in (0, 1, 125, 126, 1_023, 1_024, 1_025, 65_535):
            payload = bytes(range(256)) * (length // 256 + 1)
            found = whole_message(frame(payload[:length]), 0, MOST)
            self.assertEqual(found and found[0], payload[:length], length)
        self.assertIsNone(whole_message(frame(b"x" * 65_536), 0, MOST))

    def test_what_has_not_come_yet(self) -> None:
        """A frame that is cut anywhere waits for its rest."""
        sent = frame(b"x" * 200)
        for end in range(len(sent)):
            self.assertIsNone(whole_message(sent[:end], 0, MOST), end)

    def test_breaches_and_everything_else(self) -> None:
        """Control frames, fragments, reserved bits, missing masks, odd lengths and long messages are Autobahn's."""
        unmasked = b"\x81\x02hi"
        odd_length = b"\x81\xfe\x00\x02" + KEY + b"hi"
        for sent in (
            *(frame(b"hi", first) for first in (0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xA1, 0x91, 0x83)),
            *(unmasked + b"    ", odd_length),
        ):
            self.assertIsNone(whole_message(sent, 0, MOST), sent[:2])
        self.assertIsNone(whole_message(frame(b"x" * 11), 0, 10))


class ServerTests(SynchronousTestCase):
    def test_shortest_spelling(self) -> None:
        """A length is spelt as the standard asks: in as few bytes as it takes."""
        for length, head in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f" + (65_536).to_bytes(8, "big")),
        ):
            self.assertEqual(text_frame(b"x" * length), head + b"x" * length)
