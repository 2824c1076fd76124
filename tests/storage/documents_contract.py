"""What every keeper of documents promises: the real one, and the one in memory that stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from aigw.storage.document_table import DOCUMENT_BYTES, DocumentRefused, VersionConflict


def colour(account: str, name: str, document: Mapping[str, Any]) -> str:
    """Reads a document of these tests."""
    value = document.get("colour")
    if not isinstance(value, str):
        raise ValueError("colour: missing")
    return value


class DocumentsContract:
    """
    Mixed into an asynchronous `TestCase`.

    Attributes:
        here: An `IDocuments`, empty, that reads with `colour`.
    """

    here: Any

    def writing(self, value: object, expected_version: int | None = None) -> Deferred[Any]:
        """A write under way."""
        return Deferred.fromCoroutine(self.here.put("local", "sky", {"colour": value}, expected_version))

    async def test_what_is_written_is_found(self: Any) -> None:
        """A document is found by account and name, as it was written and as it was read, and told of."""
        told: list[tuple[str, str]] = []
        self.here.on_changed(lambda account, name: told.append((account, name)))
        made = await self.writing("blue")
        self.assertIs(self.here.find("local", "sky"), made)
        self.assertEqual((made.value, dict(made.document)), ("blue", {"colour": "blue"}))
        self.assertEqual((self.here.find("acme", "sky"), self.here.all()), (None, [made]))
        self.assertEqual(told, [("local", "sky")])
        self.assertTrue(self.here.known and self.here.available)

    async def test_versions_grow_and_never_return(self: Any) -> None:
        """A document that is deleted and made again is not taken for the one that was there before."""
        first = await self.writing("blue")
        second = await self.writing("grey")
        self.assertEqual(second.created_ms, first.created_ms)
        self.assertTrue(await self.here.delete("local", "sky"))
        third = await self.writing("blue")
        self.assertLess(first.version, second.version)
        self.assertLess(second.version, third.version)

    async def test_who_has_not_seen_it(self: Any) -> None:
        """Who writes or deletes what he has not seen is refused, and nothing is changed."""
        made = await self.writing("blue", 0)
        await self.assertFailure(self.writing("grey", 0), VersionConflict)
        await self.assertFailure(self.writing("grey", made.version + 1000), VersionConflict)
        self.assertFalse(await self.here.delete("local", "sky", made.version + 1000))
        self.assertIs(self.here.find("local", "sky"), made)
        again = await self.writing("red", made.version)
        self.assertTrue(await self.here.delete("local", "sky", again.version))
        await self.assertFailure(self.writing("grey", again.version), VersionConflict)

    async def test_unchanged_documents_stay_the_same_objects(self: Any) -> None:
        """Whatever was compiled out of a document is good until that very document changes."""
        made = await self.writing("blue")
        await self.here.put("local", "sea", {"colour": "green"})
        await self.here.compare()
        self.assertIs(self.here.find("local", "sky"), made)

    async def test_a_deleted_document_is_gone(self: Any) -> None:
        """It is found no more, listeners are told, and deleting it once more finds nothing."""
        await self.writing("blue")
        told: list[str] = []
        self.here.on_changed(lambda account, name: told.append(name))
        self.assertTrue(await self.here.delete("local", "sky"))
        self.assertFalse(await self.here.delete("local", "sky"))
        self.assertEqual((self.here.find("local", "sky"), told), (None, ["sky"]))

    async def test_what_cannot_be_stored(self: Any) -> None:
        """Wrong, endless or unwritable documents are refused, and leave no trace."""
        await self.assertFailure(Deferred.fromCoroutine(self.here.put("local", "x", {"color": "blue"})), ValueError)
        for value in ("x" * DOCUMENT_BYTES, "a\0b", "\ud800", object()):
            await self.assertFailure(self.writing(value), DocumentRefused)
        await self.here.compare()
        self.assertEqual(self.here.all(), [])

    async def test_nobody_writes_into_a_document(self: Any) -> None:
        """What the writer does to his object afterwards changes nothing that is kept."""
        written = {"colour": "blue", "shades": ["light"]}
        made = await self.here.put("local", "sky", written)
        written["colour"] = "red"
        written["shades"].append("dark")
        self.assertEqual(dict(made.document), {"colour": "blue", "shades": ["light"]})
