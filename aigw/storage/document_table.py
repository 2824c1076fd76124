"""The table of documents: named JSON objects that owners declare."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from aigw.errors import AigwError
from aigw.interfaces import IDatabase

# Every process hears of changes here; the payload is the kind.
CHANNEL = "aigw_documents"

MAX_DOCUMENTS = 10_000
DOCUMENT_BYTES = 262_144

Key = tuple[str, str]

_COLUMNS = """
    account, name, version, document::text,
    round(extract(epoch FROM created_at) * 1000)::bigint, round(extract(epoch FROM modified_at) * 1000)::bigint
"""

_VERSIONS = "SELECT account, name, version FROM documents WHERE kind = %s ORDER BY account, name LIMIT %s"

_READ = f"""
    SELECT {_COLUMNS} FROM documents
     WHERE kind = %s
       AND (account, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""  # noqa: S608 - the columns are a constant

_COUNT = "SELECT count(*) FROM documents WHERE kind = %s AND (account, name) <> (%s, %s)"

# The version is taken once the row is locked, so that of two writers the later one has the greater version.
_UPSERT = f"""
    INSERT INTO documents (kind, account, name, document) VALUES (%s, %s, %s, %s::jsonb)
        ON CONFLICT (kind, account, name) DO UPDATE
       SET document = EXCLUDED.document, version = nextval('document_versions'), modified_at = clock_timestamp()
     WHERE %s::bigint IS NULL OR documents.version = %s
    RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are a constant

_UPDATE = f"""
    UPDATE documents
       SET document = %s::jsonb, version = nextval('document_versions'), modified_at = clock_timestamp()
     WHERE kind = %s AND account = %s AND name = %s AND version = %s
    RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are a constant

_DELETE = """
    DELETE FROM documents
     WHERE kind = %s AND account = %s AND name = %s AND (%s::bigint IS NULL OR version = %s)
    RETURNING version
"""

_NOTIFY = "SELECT pg_notify(%s, %s)"


class VersionConflict(AigwError):
    """Somebody else has written or deleted the document meanwhile, or it is there already."""


class TooManyDocuments(AigwError):
    """There are as many documents of the kind as every process is willing to hold."""


class DocumentRefused(AigwError):
    """The document cannot be stored: it is too large, or holds what PostgreSQL has no room for."""


class Row(msgspec.Struct, frozen=True):
    """
    A document as it is stored.

    Attributes:
        account, name, version, created_ms, modified_ms: As in `Stored`.
        text: The document as JSON.
    """

    account: str
    name: str
    version: int
    text: str
    created_ms: int
    modified_ms: int


def encode(document: object) -> str:
    """
    A document as JSON.

    Raises:
        DocumentRefused: See there.
    """
    try:
        data = msgspec.json.encode(document)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise DocumentRefused(f"it is no JSON: {error}") from error
    if len(data) > DOCUMENT_BYTES:
        raise DocumentRefused(f"it is longer than {DOCUMENT_BYTES} bytes")
    if rb"\u0000" in data:
        raise DocumentRefused("it holds a NUL character")
    return data.decode("utf-8")


class DocumentTable:
    """
    The documents of one kind in the database.

    Args:
        kind: See the table.
        database: Where all processes' documents meet.
    """

    def __init__(self, kind: str, database: IDatabase) -> None:
        self.kind = kind
        self._database = database

    async def versions(self) -> dict[Key, int]:
        """
        Which documents there are.

        Raises:
            StorageUnavailable: As with all of these.
        """
        rows = await self._database.query(_VERSIONS, (self.kind, MAX_DOCUMENTS))
        return {(account, name): version for account, name, version in rows}

    async def read(self, keys: Collection[Key]) -> list[Row]:
        """Those of these documents that are still there."""
        if not keys:
            return []
        accounts, names = zip(*keys, strict=True)
        rows = await self._database.query(_READ, (self.kind, list(accounts), list(names)))
        return [Row(*row) for row in rows]

    async def put(self, key: Key, text: str, expected_version: int | None) -> Row:
        """
        Write a document, and tell every process.

        Args:
            key: Account and name.
            text: From `encode`.
            expected_version: What is replaced; 0: nothing must be there; None: whatever is there.
        Raises:
            VersionConflict, TooManyDocuments: See there.
        """

        async def write(cursor: Any) -> Row:
            await cursor.execute(_COUNT, (self.kind, *key))
            if cursor.fetchall()[0][0] >= MAX_DOCUMENTS:
                raise TooManyDocuments(f"There are {MAX_DOCUMENTS} documents of the kind `{self.kind}` already")
            if expected_version:
                await cursor.execute(_UPDATE, (text, self.kind, *key, expected_version))
            else:
                # No document has the version 0: one that is there already is left as it is.
                await cursor.execute(_UPSERT, (self.kind, *key, text, expected_version, expected_version))
            rows = cursor.fetchall()
            if not rows:
                raise VersionConflict(f"`{key[1]}` of the account `{key[0]}` was changed meanwhile")
            await cursor.execute(_NOTIFY, (CHANNEL, self.kind))
            return Row(*rows[0])

        return await self._database.transact(write)

    async def delete(self, key: Key, expected_version: int | None) -> bool:
        """
        Delete a document, and tell every process.

        Args:
            key: Account and name.
            expected_version: What is deleted; None: whatever is there.
        Returns:
            Whether there was one, with that version.
        """

        async def delete(cursor: Any) -> bool:
            await cursor.execute(_DELETE, (self.kind, *key, expected_version, expected_version))
            found = bool(cursor.fetchall())
            if found:
                await cursor.execute(_NOTIFY, (CHANNEL, self.kind))
            return found

        return await self._database.transact(delete)
