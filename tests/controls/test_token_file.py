"""The copy of the tokens on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.errors import ConfigurationError
from aigw.values.token import Token

ENTRY = TokenEntry(b"\x01" * 32, Token("tok_1", "ci", frozenset({"run"}), "local", None, 1_000, 2_000, None))


def at_once(call: Callable[[], None]) -> Deferred[None]:
    """Stands for a thread: the call is over when this returns."""
    return execute(call)


class TokenFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, *entries: TokenEntry) -> None:
        writing = Deferred.fromCoroutine(TokenFile(self.path, at_once).write(lambda: entries))
        self.successResultOf(writing)

    def test_what_was_written_is_read(self) -> None:
        """A token made before a restart is known after it."""
        self.write(ENTRY)
        self.assertEqual(TokenFile(self.path, at_once).read(), (ENTRY,))

    def test_no_file_is_no_token(self) -> None:
        """The very first start finds no tokens and does not complain."""
        self.assertEqual(TokenFile(self.path, at_once).read(), ())

    def test_only_the_owner_may_read(self) -> None:
        """The file is private whatever the umask, also when an earlier attempt left a public one behind."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_bytes(b"left by a crash")
        beside.chmod(0o666)
        self.addCleanup(os.umask, os.umask(0))
        self.write(ENTRY)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_damage_stops_the_start(self) -> None:
        """A damaged file is reported by its path: to go on without it would bring revoked tokens back."""
        for damage in (b"", b'{"version":1,"tokens":[', b"\xff\xfe"):
            self.path.write_bytes(damage)
            error = self.assertRaises(ConfigurationError, TokenFile(self.path, at_once).read)
            self.assertIn(str(self.path), str(error))

    def test_a_failed_write_leaves_the_old_file(self) -> None:
        """When the disk is full, the tokens that were there stay."""
        self.write(ENTRY)

        def full(call: Callable[[], None]) -> Deferred[None]:
            return execute(self._no_space)

        writing = Deferred.fromCoroutine(TokenFile(self.path, full).write(lambda: ()))
        self.failureResultOf(writing, OSError)
        self.assertEqual(TokenFile(self.path, at_once).read(), (ENTRY,))

    def _no_space(self) -> None:
        raise OSError(28, "No space left on device")

    def test_the_last_of_several_writes_wins(self) -> None:
        """Two changes in quick succession are both on disk, however slow the first write is."""
        slow: list[tuple[Callable[[], None], Deferred[None]]] = []

        def later(call: Callable[[], None]) -> Deferred[None]:
            slow.append((call, Deferred()))
            return slow[-1][1]

        def finish() -> None:
            call, done = slow.pop(0)
            call()
            done.callback(None)

        file = TokenFile(self.path, later)
        content: list[TokenEntry] = []
        first = Deferred.fromCoroutine(file.write(lambda: list(content)))
        content.append(ENTRY)
        second = Deferred.fromCoroutine(file.write(lambda: list(content)))
        self.assertEqual(len(slow), 1)
        finish()
        finish()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(TokenFile(self.path, at_once).read(), (ENTRY,))
