"""What a token allows."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.token import Token


class TokenTests(SynchronousTestCase):
    def test_no_scope_implies_another(self) -> None:
        """A token that may change settings cannot spend money on requests unless it was given `run` too."""
        token = Token("tok_1", "ops", frozenset({"edit"}), "local", None, 0)
        self.assertTrue(token.allows("local", "default", "edit", 1))
        self.assertFalse(token.allows("local", "default", "run", 1))
        self.assertFalse(token.allows("local", "default", "read", 1))

    def test_end(self) -> None:
        """A token ends at its expiry or its revocation, whichever comes first."""
        token = Token("tok_1", "app", frozenset(), "local", None, 0, expires_ms=10, revoked_ms=5)
        self.assertEqual(token.ended_ms(), 5)
        self.assertIsNone(Token("tok_1", "app", frozenset(), "local", None, 0).ended_ms())
