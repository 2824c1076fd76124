"""Tokens that say all about themselves, and that nobody can change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Caller
from aigw.controls.minted import Minted, Minter, MintForm
from aigw.controls.token_file import TokenFile
from aigw.controls.token_text import MINTED_ID, PREFIX, TEXT_BYTES, content_of, digest_of, text_of
from aigw.controls.tokens import Tokens
from aigw.errors import NotAllowed
from aigw.providers.headers import holds_gateway_token
from aigw.values.gateway import Gateway

NOW_MS = 1_800_000_000_000
GATEWAY = Gateway(id="default")


class MinterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tokens = Tokens(TokenFile(Path(self.mktemp()), execute), lambda: NOW_MS)
        self.parent = self.successResultOf(Deferred.fromCoroutine(self.tokens.create("backend"))).token
        self.minter = self.server(b"k" * 32)

    def server(self, key: bytes) -> Minter:
        return Minter(key, self.tokens, lambda: NOW_MS)

    def mint(self, **form: Any) -> str:
        return self.minter.mint(Caller(self.parent.id, True), GATEWAY, MintForm(**form)).text

    def verify(self, text: str, minter: Minter | None = None) -> Minted | None:
        return (minter or self.minter).verify(text.encode(), NOW_MS)

    def test_what_it_says(self) -> None:
        """A minted token carries its parent, its user and its bounds, and is known by an id that names the parent."""
        minted = self.verify(self.mint(user="ada", models=("gpt-*",), expires_in_s=60))
        assert minted is not None
        self.assertEqual((minted.parent, minted.user, minted.expires_ms), (self.parent.id, "ada", NOW_MS + 60_000))
        self.assertEqual(minted.bounds.models, ("gpt-*",))
        self.assertRegex(minted.id, MINTED_ID)
        self.assertTrue(minted.id.startswith(self.parent.id))

    def test_its_end(self) -> None:
        """A minted token is none from its end on, also where it was taken before."""
        text = self.mint(expires_in_s=60).encode()
        self.assertIsNotNone(self.minter.verify(text, NOW_MS + 59_999))
        self.assertIsNone(self.minter.verify(text, NOW_MS + 60_000))

    def test_every_server_with_the_key(self) -> None:
        """Servers that share the master key take each other's tokens; others do not."""
        text = self.mint()
        self.assertIsNotNone(self.verify(text, self.server(b"k" * 32)))
        self.assertIsNone(self.verify(text, self.server(b"x" * 32)))

    def test_any_change(self) -> None:
        """A token that was changed anywhere is none."""
        text = self.mint(user="ada", models=("gpt-*",))
        for at in range(len(text)):
            changed = text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]
            self.assertIsNone(self.verify(changed), at)
        for other in (text + text[5:], text[:-43], text[:-1], text + "0", "", PREFIX.decode()):
            self.assertIsNone(self.verify(other))

    def test_two_are_different(self) -> None:
        """Two tokens for the same user have ids of their own."""
        first, second = self.verify(self.mint(user="ada")), self.verify(self.mint(user="ada"))
        assert first is not None
        assert second is not None
        self.assertNotEqual(first.id, second.id)

    def test_kept_from_providers(self) -> None:
        """Whatever keeps a token of the gateway from providers knows a minted one by the same form."""
        text = self.mint()
        self.assertTrue(holds_gateway_token(b"Bearer " + text.encode()))
        self.assertRegex(text, r"\Aaigw_[0-9A-Za-z]+\Z")
        self.assertIsNone(digest_of(text.encode()))

    def test_not_shown_by_accident(self) -> None:
        """An error report of a new token does not hold its text."""
        made = self.minter.mint(Caller(self.parent.id, True), GATEWAY, MintForm())
        self.assertNotIn(made.text, repr(made))

    def test_a_wide_parent(self) -> None:
        """Without a token there is nothing to mint from."""
        for caller in (Caller(), Caller("", True, user="ada"), Caller(f"{self.parent.id}.{'0' * 16}", True)):
            self.assertRaises(NotAllowed, self.minter.mint, caller, GATEWAY, MintForm())


class TextTests(SynchronousTestCase):
    @given(st.integers(2, 6).flatmap(lambda blocks: st.binary(min_size=32 * blocks, max_size=32 * blocks)))
    def test_every_bit(self, content: bytes) -> None:
        """What is spelt as a token is read back to the bit."""
        self.assertEqual(content_of(text_of(content).encode()), content)

    def test_no_content(self) -> None:
        """What is no minted token has no content: a plain one, a digit that is none, a number that is too large."""
        plain = text_of(b"x" * 32).encode()
        self.assertEqual(len(plain), TEXT_BYTES)
        for text in (plain, PREFIX + b"_" * 86, PREFIX + b"z" * 86, b"sk-x_" + b"0" * 86, PREFIX + b"0" * 43 * 49, b""):
            self.assertIsNone(content_of(text))
