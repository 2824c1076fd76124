"""The tokens of this server: looked up in memory, kept on disk."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable

import attrs
import msgspec
from twisted.logger import Logger

from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.controls.token_text import MINTED_AT_MOST_S, MINTED_ID, digest_of, new_text, parent_of
from aigw.errors import AigwError
from aigw.values.limits import Bounds
from aigw.values.token import Scope, Token

MAX_TOKENS = 10_000

# A token that ended this long ago is dropped everywhere: `aigw chat` alone makes one a call.
FORGET_AFTER_MS = 30 * 86_400_000


class TooManyTokens(AigwError):
    """There are as many tokens as the server keeps; revoke some, or wait until ended ones are forgotten."""


@attrs.frozen
class NewToken:
    """
    A token on the only occasion on which its text is known.

    Attributes:
        token: What is kept of it.
        text: The secret, to be shown once.
    """

    token: Token
    text: str = attrs.field(repr=False)


class Tokens:
    """
    A snapshot of all tokens in memory, with its copy on disk.

    Args:
        file: The copy; read at once.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        random: Returns so many unpredictable bytes.

    Attributes:
        version: Grows with every change of any token, so that what was made of tokens can be kept until then.
    """

    _log = Logger()

    def __init__(self, file: TokenFile, utc_ms: Callable[[], int], random: Callable[[int], bytes] = os.urandom) -> None:
        self._file = file
        self._utc_ms = utc_ms
        self._random = random
        self._by_id: dict[str, TokenEntry] = {}
        self._by_digest: dict[bytes, TokenEntry] = {}
        self._revoked_calls: list[Callable[[Token], None]] = []
        self._changed_calls: list[Callable[[], None]] = []
        self.version = 0
        for entry in file.read():
            self._put(entry)

    def verify(self, text: bytes | str, account: str, gateway: str, scope: Scope, now_ms: int) -> Token | None:
        """
        The token that was shown, when it allows what is asked.

        Args:
            text: As the caller sent it, without `Bearer`.
            account, gateway: What the caller addresses.
            scope: What the caller wants to do.
            now_ms: UTC, milliseconds since the epoch.
        Returns:
            None for every reason to refuse: a caller is not told which it was.
        """
        digest = digest_of(text.encode("utf-8", "replace") if isinstance(text, str) else text)
        if digest is None:
            return None
        # Finding the digest in a dict takes a time that depends on the digest. That tells an attacker nothing: nobody
        # can choose texts whose SHA-256 approaches a wanted one. The last word is still a comparison in constant time.
        entry = self._by_digest.get(digest)
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            return None
        return entry.token if entry.token.allows(account, gateway, scope, now_ms) else None

    def get(self, token_id: str) -> Token | None:
        """The token of this id, in force or not; None when there is none."""
        entry = self._by_id.get(token_id)
        return None if entry is None else entry.token

    def on_revoked(self, call: Callable[[Token], None]) -> None:
        """Be called with every token that is revoked from now on, here or on another node."""
        self._revoked_calls.append(call)

    def on_changed(self, call: Callable[[], None]) -> None:
        """Be called after a token was made or revoked here, when it is time to tell the database."""
        self._changed_calls.append(call)

    def all(self) -> list[Token]:
        """All tokens, ended ones too until they are forgotten, oldest first."""
        return [entry.token for entry in self.entries()]

    def entries(self) -> list[TokenEntry]:
        """All tokens as they are stored, oldest first."""
        return sorted(self._by_id.values(), key=lambda entry: (entry.token.created_ms, entry.token.id))

    async def create(
        self,
        name: str,
        scopes: Iterable[Scope] = ("run",),
        account: str = "local",
        gateway: str | None = None,
        expires_ms: int | None = None,
        team: str = "",
        user: str = "",
        bounds: Bounds = Bounds(),  # noqa: B008  # frozen
    ) -> NewToken:
        """
        Make a token.

        Args:
            name: What its owner calls it.
            scopes, account, gateway, expires_ms, team, user, bounds: See `Token`.
        Returns:
            The token with its text, once it is safe on disk.
        Raises:
            TooManyTokens: See there.
            OSError: The disk refused; there is no such token.
        """
        self._make_room()
        text = new_text(self._random)
        digest = digest_of(text.encode("ascii"))
        assert digest is not None  # noqa: S101 - our own text has our own form
        token_id = f"tok_{self._random(8).hex()}"
        terms = (name, frozenset(scopes), account, gateway, self._utc_ms(), expires_ms, None, team, user, bounds)
        token = Token(token_id, *terms)
        self._put(TokenEntry(digest, token))
        try:
            await self._file.write(self.entries)
        except BaseException:
            # A token that is not on disk would be gone after a start: better that its owner never had it.
            self._drop(token.id)
            raise
        self._tell_changed()
        return NewToken(token, text)

    async def revoke(self, token_id: str) -> Token | None:
        """
        End a token, at once for every request and open socket here. A minted token, of which nothing is kept, is noted
        as ended for as long as it could be in force.

        Returns:
            The token as it is now, once that is safe on disk; None when there is no such token.
        Raises:
            TooManyTokens: There is no room to note that a minted token has ended; its parent can be revoked.
            OSError: The disk refused. The token is refused until the next start and in the database; revoke it again.
        """
        entry = self._by_id.get(token_id) or self._tombstone(token_id)
        if entry is None:
            return None
        self.adopt([_ended(entry, self._utc_ms())])
        self._tell_changed()
        await self._file.write(self.entries)
        return self._by_id[token_id].token

    def adopt(self, entries: Iterable[TokenEntry]) -> bool:
        """
        Take in what another copy of the tokens knows. Of two ends of one token the earlier holds.

        Returns:
            Whether anything here has changed. `save` writes it to disk.
        """
        changed = False
        for theirs in entries:
            ours = self._by_id.get(theirs.token.id)
            if ours is None:
                self._put(theirs)
                changed = True
                if theirs.token.revoked_ms is not None:
                    self._tell_revoked(theirs.token)
            elif theirs.token.revoked_ms is not None:
                ended = _ended(ours, theirs.token.revoked_ms)
                if ended != ours:
                    self._put(ended)
                    changed = True
                    if ours.token.revoked_ms is None:
                        self._tell_revoked(ended.token)
        return changed

    async def save(self) -> None:
        """
        Write the copy on disk.

        Raises:
            OSError: The disk refused.
        """
        self._forget()
        await self._file.write(self.entries)

    def forgotten_before_ms(self) -> int:
        """Tokens that ended before this moment are dropped."""
        return self._utc_ms() - FORGET_AFTER_MS

    def _tombstone(self, token_id: str) -> TokenEntry | None:
        """What is kept of a minted token from its revocation on; None when no token could have minted it."""
        parent = self.get(parent_of(token_id))
        if parent is None or MINTED_ID.fullmatch(token_id) is None:
            return None
        self._make_room()
        now_ms = self._utc_ms()
        ends_ms = now_ms + MINTED_AT_MOST_S * 1000
        minted = Token(token_id, "minted", frozenset(), parent.account, parent.gateway, now_ms, ends_ms)
        # Nobody can show a text with this digest: it is not even that of a token's text.
        return TokenEntry(hashlib.sha256(token_id.encode("ascii")).digest(), minted)

    def _make_room(self) -> None:
        self._forget()
        if len(self._by_id) >= MAX_TOKENS:
            raise TooManyTokens(f"There are {MAX_TOKENS} tokens already")

    def _forget(self) -> None:
        before_ms = self.forgotten_before_ms()
        for entry in list(self._by_id.values()):
            ended_ms = entry.token.ended_ms()
            if ended_ms is not None and ended_ms < before_ms:
                self._drop(entry.token.id)

    def _put(self, entry: TokenEntry) -> None:
        self.version += 1
        self._by_id[entry.token.id] = entry
        self._by_digest[entry.digest] = entry

    def _drop(self, token_id: str) -> None:
        entry = self._by_id.pop(token_id, None)
        if entry is not None:
            self.version += 1
            self._by_digest.pop(entry.digest, None)

    def _tell_revoked(self, token: Token) -> None:
        for call in self._revoked_calls:
            try:
                call(token)
            except Exception:
                self._log.failure("A listener failed when {token} was revoked", token=token.id)

    def _tell_changed(self) -> None:
        for call in self._changed_calls:
            call()


def _ended(entry: TokenEntry, revoked_ms: int) -> TokenEntry:
    """The entry, revoked at the given moment or earlier."""
    earlier_ms = entry.token.revoked_ms
    if earlier_ms is not None and earlier_ms <= revoked_ms:
        return entry
    return TokenEntry(entry.digest, msgspec.structs.replace(entry.token, revoked_ms=revoked_ms))
