"""Who may call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.controls.tokens import FORGET_AFTER_MS, MAX_TOKENS, NewToken, Tokens, TooManyTokens
from aigw.values.token import Token

T = TypeVar("T")


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.now_ms = 1_000_000
        self.disk_full = False
        self.made = 0

    def run_in_thread(self, call: Callable[[], None]) -> Deferred[None]:
        return execute(self._refuse if self.disk_full else call)

    def _refuse(self) -> None:
        raise OSError(28, "No space left on device")

    def random(self, count: int) -> bytes:
        self.made += 1
        return self.made.to_bytes(count, "big")

    def tokens(self) -> Tokens:
        """The tokens as a start finds them."""
        return Tokens(TokenFile(self.path, self.run_in_thread), lambda: self.now_ms, self.random)

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def verify(self, tokens: Tokens, made: NewToken, account: str = "local", gateway: str = "default") -> Token | None:
        return tokens.verify(made.text, account, gateway, "run", self.now_ms)

    def test_a_new_token_opens_the_gateway(self) -> None:
        """A token works at once, as text and as bytes, and still after a restart."""
        tokens = self.tokens()
        made = self.result(tokens.create("laptop"))
        self.assertEqual(self.verify(tokens, made), made.token)
        self.assertEqual(tokens.verify(made.text.encode(), "local", "default", "run", self.now_ms), made.token)
        self.assertEqual(self.verify(self.tokens(), made), made.token)

    def test_the_text_is_kept_nowhere(self) -> None:
        """Whoever reads the disk or an error report finds no token in it."""
        made = self.result(self.tokens().create("laptop"))
        self.assertNotIn(made.text, self.path.read_text())
        self.assertNotIn(made.text, repr(made))

    def test_the_scope_is_run_unless_told_otherwise(self) -> None:
        """A plain token makes requests, but reads and changes nothing."""
        tokens = self.tokens()
        made = self.result(tokens.create("app"))
        self.assertIsNone(tokens.verify(made.text, "local", "default", "read", self.now_ms))
        self.assertIsNone(tokens.verify(made.text, "local", "default", "edit", self.now_ms))

    def test_another_account_or_gateway_is_closed(self) -> None:
        """A token for one gateway is no token for its neighbour."""
        tokens = self.tokens()
        made = self.result(tokens.create("app", gateway="default"))
        self.assertIsNotNone(self.verify(tokens, made))
        self.assertIsNone(self.verify(tokens, made, gateway="other"))
        self.assertIsNone(self.verify(tokens, made, account="other"))

    def test_expiry(self) -> None:
        """A token works until the moment of its expiry and not from then on."""
        tokens = self.tokens()
        made = self.result(tokens.create("app", expires_ms=self.now_ms + 10))
        self.now_ms += 9
        self.assertIsNotNone(self.verify(tokens, made))
        self.now_ms += 1
        self.assertIsNone(self.verify(tokens, made))

    def test_a_wrong_token_is_refused(self) -> None:
        """A guess opens nothing, whatever characters are in it."""
        tokens = self.tokens()
        self.result(tokens.create("app"))
        for guess in ("", "undefined", "aigw_" + "0" * 43, "aigw_\udcff", b"\xff" * 48):
            self.assertIsNone(tokens.verify(guess, "local", "default", "run", self.now_ms))

    def test_revoking(self) -> None:
        """A revoked token is refused at once and after a restart; whoever holds its sockets is told once."""
        tokens = self.tokens()
        made = self.result(tokens.create("app"))
        told: list[str] = []
        tokens.on_revoked(lambda token: told.append(token.id))
        ended = self.result(tokens.revoke(made.token.id))
        assert ended is not None
        self.assertEqual(ended.revoked_ms, self.now_ms)
        self.assertIsNone(self.verify(tokens, made))
        self.now_ms += 1
        self.assertEqual(self.result(tokens.revoke(made.token.id)), ended)
        self.assertEqual(told, [made.token.id])
        self.assertIsNone(self.verify(self.tokens(), made))

    def test_revoking_what_is_not_there(self) -> None:
        """A mistyped id is reported, not ignored."""
        self.assertIsNone(self.result(self.tokens().revoke("tok_nobody")))

    def test_revoking_a_minted_token(self) -> None:
        """A minted token is noted as ended, also for the next start; one that nobody can have minted is not there."""
        tokens = self.tokens()
        parent = self.result(tokens.create("backend")).token
        minted = f"{parent.id}.{'0' * 16}"
        ended = self.result(tokens.revoke(minted))
        assert ended is not None
        self.assertEqual((ended.id, ended.revoked_ms, ended.scopes), (minted, self.now_ms, frozenset()))
        self.assertEqual([token.id for token in self.tokens().all()], [parent.id, minted])
        for other in (f"tok_{'1' * 16}.{'0' * 16}", f"{parent.id}.xyz", f"{minted}.{'0' * 16}"):
            self.assertIsNone(self.result(tokens.revoke(other)))

    def test_a_full_disk_makes_no_token(self) -> None:
        """A token that could not be kept is not handed out."""
        tokens = self.tokens()
        self.disk_full = True
        self.failureResultOf(Deferred.fromCoroutine(tokens.create("app")), OSError)
        self.assertEqual(tokens.all(), [])

    def test_a_full_disk_still_revokes(self) -> None:
        """When a revocation cannot be written, the operator is told, and the token is refused all the same."""
        tokens = self.tokens()
        made = self.result(tokens.create("app"))
        self.disk_full = True
        self.failureResultOf(Deferred.fromCoroutine(tokens.revoke(made.token.id)), OSError)
        self.assertIsNone(self.verify(tokens, made))

    def test_a_failing_listener_stops_nobody(self) -> None:
        """One broken socket does not keep the other sockets of a revoked token open."""
        tokens = self.tokens()
        made = self.result(tokens.create("app"))
        told: list[str] = []
        tokens.on_revoked(lambda token: 1 / 0 and None)
        tokens.on_revoked(lambda token: told.append(token.id))
        self.result(tokens.revoke(made.token.id))
        self.assertEqual(told, [made.token.id])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_earlier_end_wins(self) -> None:
        """Of two nodes that revoked a token, the first one's time stands, in whatever order they hear of each other."""
        tokens = self.tokens()
        token = Token("tok_1", "app", frozenset({"run"}), "local", None, 1)
        for revoked_ms in (50, 40, 60):
            ended = Token("tok_1", "app", frozenset({"run"}), "local", None, 1, None, revoked_ms)
            tokens.adopt([TokenEntry(b"d" * 32, token), TokenEntry(b"d" * 32, ended)])
        self.assertEqual([known.revoked_ms for known in tokens.all()], [40])
        self.assertFalse(tokens.adopt([TokenEntry(b"d" * 32, token)]))

    def test_ended_tokens_are_forgotten(self) -> None:
        """Tokens that ended long ago do not pile up, those in force stay however old they are."""
        tokens = self.tokens()
        lasting = self.result(tokens.create("lasting"))
        self.result(tokens.create("chat", expires_ms=self.now_ms + 1))
        self.now_ms += FORGET_AFTER_MS + 2
        newest = self.result(tokens.create("newest"))
        self.assertEqual(self.tokens().all(), [lasting.token, newest.token])

    def test_the_number_is_bounded(self) -> None:
        """A script that makes tokens in a loop is stopped, and says why."""
        tokens = self.tokens()
        tokens.adopt(
            TokenEntry(number.to_bytes(32, "big"), Token(f"tok_{number}", "", frozenset(), "local", None, 1))
            for number in range(MAX_TOKENS)
        )
        self.failureResultOf(Deferred.fromCoroutine(tokens.create("one more")), TooManyTokens)
