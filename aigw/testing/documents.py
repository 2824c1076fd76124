"""Documents in memory, of one process without a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from zope.interface import implementer

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDocuments
from aigw.storage.document_table import VersionConflict, encode
from aigw.values.document import Stored

T = TypeVar("T")


@implementer(IDocuments)
class MemoryDocuments(Generic[T]):
    """
    Args:
        read: Makes the value of a document, as for the real ones.
        utc_ms: Wall clock.

    Attributes:
        known, available: See `IDocuments`; a test may set them.
    """

    def __init__(self, read: Callable[[str, str, Mapping[str, Any]], T], utc_ms: Callable[[], int] = lambda: 0) -> None:
        self.known = True
        self.available = True
        self._read = read
        self._utc_ms = utc_ms
        self._version = 0
        self._stored: dict[tuple[str, str], Stored[T]] = {}
        self._calls: list[Callable[[str, str], None]] = []

    def find(self, account: str, name: str) -> Stored[T] | None:
        """See `IDocuments`."""
        return self._stored.get((account, name))

    def all(self) -> list[Stored[T]]:
        """See `IDocuments`."""
        return [self._stored[key] for key in sorted(self._stored)]

    def on_changed(self, call: Callable[[str, str], None]) -> None:
        """See `IDocuments`."""
        self._calls.append(call)

    async def put(
        self, account: str, name: str, document: Mapping[str, Any], expected_version: int | None = None
    ) -> Stored[T]:
        """See `IDocuments`."""
        kept = msgspec.json.decode(encode(document), type=dict[str, Any])
        value = self._read(account, name, kept)
        earlier = self.find(account, name)
        self._check(earlier, expected_version)
        now_ms = self._utc_ms()
        self._version += 1
        created_ms = earlier.created_ms if earlier is not None else now_ms
        stored = Stored(account, name, kept, value, self._version, created_ms, now_ms)
        self._stored[account, name] = stored
        self._tell(account, name)
        return stored

    async def delete(self, account: str, name: str, expected_version: int | None = None) -> bool:
        """See `IDocuments`."""
        if not self.available:
            raise StorageUnavailable("there is no database")
        earlier = self.find(account, name)
        if earlier is None or expected_version not in (None, earlier.version):
            return False
        del self._stored[account, name]
        self._tell(account, name)
        return True

    async def compare(self) -> None:
        """See `IDocuments`; there is nobody to compare with."""

    def _check(self, earlier: Stored[T] | None, expected_version: int | None) -> None:
        if not self.available:
            raise StorageUnavailable("there is no database")
        if expected_version is not None and expected_version != (earlier.version if earlier is not None else 0):
            raise VersionConflict("changed meanwhile")

    def _tell(self, account: str, name: str) -> None:
        for call in self._calls:
            call(account, name)
