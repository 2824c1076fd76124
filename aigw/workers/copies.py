"""What a worker has instead of the files that only its parent writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.threads import deferToThread

from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.controls.tokens import Tokens
from aigw.storage.document_file import DocumentFile
from aigw.storage.document_table import Row


class ToldTokens(TokenFile):
    """
    The tokens as the parent told them.

    Args:
        entries: All of them.
    """

    def __init__(self, entries: Sequence[TokenEntry]) -> None:
        super().__init__(Path(), deferToThread)
        self._entries = tuple(entries)

    def read(self) -> tuple[TokenEntry, ...]:
        """See `TokenFile`."""
        return self._entries

    async def write(self, current: Callable[[], Sequence[TokenEntry]]) -> None:
        """The parent writes, for it hears of everything, too."""


class ReadOnlyDocuments(DocumentFile):
    """The copy of documents on disk, as the parent writes it."""

    async def write(self, current: Callable[[], Sequence[Row]]) -> None:
        """The parent writes, for it hears of everything, too."""


class TokenNews:
    """
    Finds what is new about tokens.

    Args:
        tokens: Of the parent.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._ends: dict[str, int | None] = {}
        self.take()

    def take(self) -> tuple[TokenEntry, ...]:
        """Those that were made or have ended since the last call."""
        entries = self._tokens.entries()
        before, self._ends = self._ends, {entry.token.id: entry.token.revoked_ms for entry in entries}
        return tuple(
            entry
            for entry in entries
            if entry.token.id not in before or before[entry.token.id] != entry.token.revoked_ms
        )
