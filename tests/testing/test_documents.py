"""Documents in memory keep what the real ones promise."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import StorageUnavailable
from aigw.testing.documents import MemoryDocuments
from tests.storage.documents_contract import DocumentsContract, colour


class MemoryDocumentsTests(DocumentsContract, TestCase):
    def setUp(self) -> None:
        self.here = MemoryDocuments(colour)

    async def test_away(self) -> None:
        """While a test has the database away, nothing is written and everything is found."""
        made = await self.writing("blue")
        self.here.available = False
        await self.assertFailure(self.writing("red"), StorageUnavailable)
        await self.assertFailure(Deferred.fromCoroutine(self.here.delete("local", "sky")), StorageUnavailable)
        self.assertIs(self.here.find("local", "sky"), made)
