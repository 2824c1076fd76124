"""How a token is spelt."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.token_text import TEXT_BYTES, digest_of, new_text


class NewTextTests(SynchronousTestCase):
    def test_fits_into_a_subprotocol(self) -> None:
        """A browser can offer any token as a subprotocol: letters, digits and the underscore only."""
        for byte in (b"\x00", b"\x5a", b"\xff"):
            text = new_text(lambda count, byte=byte: byte * count)
            self.assertRegex(text, re.compile(r"^aigw_[0-9A-Za-z]{43}$"))
            self.assertEqual(len(text), TEXT_BYTES)

    def test_keeps_every_bit_of_the_randomness(self) -> None:
        """Two secrets that differ in one bit are two tokens."""
        self.assertNotEqual(new_text(bytes), new_text(lambda count: bytes(count - 1) + b"\x01"))


class DigestTests(SynchronousTestCase):
    def test_junk_is_no_token(self) -> None:
        """What clients send in place of a token (`undefined`, a vendor's key, a megabyte) is refused unhashed."""
        for junk in (b"", b"undefined", b"sk-fake", b"aigw_", b"aigw_" + b"x" * 1_000_000, b"AIGW_" + b"x" * 43):
            self.assertIsNone(digest_of(junk))

    def test_a_token_has_a_digest(self) -> None:
        """A token is recognised again."""
        text = new_text(lambda count: b"\x07" * count).encode()
        digest = digest_of(text)
        assert digest is not None
        self.assertEqual(digest, digest_of(text))
        self.assertEqual(len(digest), 32)
