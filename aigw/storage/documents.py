"""
Named documents of one kind: looked up in memory, kept in PostgreSQL, with a copy on disk.

A change on one process reaches the others by NOTIFY, and at the latest when all of them compare, every 30 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase, IDocuments
from aigw.storage.document_file import DocumentFile
from aigw.storage.document_table import CHANNEL, DocumentTable, Key, Row, encode
from aigw.values.document import Stored

T = TypeVar("T")

RECONCILE_S = 30.0

Read = Callable[[str, str, Mapping[str, Any]], T]


@implementer(IDocuments)
class Documents(Generic[T]):
    """
    The documents of one kind.

    Args:
        kind: Names them in the table; lower-case letters.
        database: Where all processes' documents meet.
        file: The copy on disk.
        read: Makes the value of a document, given account, name and content; raises ValueError when it cannot.
        clock: For the reconciliation.
    """

    _log = Logger()

    def __init__(self, kind: str, database: IDatabase, file: DocumentFile, read: Read[T], clock: Any) -> None:
        self.known = False
        self._kind = kind
        self._table = DocumentTable(kind, database)
        self._database = database
        self._file = file
        self._read = read
        self._stored: dict[Key, Stored[T]] = {}
        # As they are stored: also those that cannot be read here.
        self._rows: dict[Key, Row] = {}
        self._calls: list[Callable[[str, str], None]] = []
        # What was read before a write must not be taken in after it.
        self._lock = DeferredLock()
        self._running = False
        self._again = False
        self._reconcile = LoopingCall(self.run)
        self._reconcile.clock = clock

    def start(self) -> None:
        """
        Read the copy on disk, and from now on follow the database.

        Raises:
            ConfigurationError: The copy cannot be read.
        """
        rows = self._file.read()
        if rows is not None:
            self.known = True
            self._take_in(rows)
        self._database.when_available(self.run)
        self._database.listen(CHANNEL, self._heard)
        self._reconcile.start(RECONCILE_S, now=False).addErrback(
            lambda failure: self._log.failure("Documents are reconciled no more", failure)
        )

    def stop(self) -> None:
        """Follow the database no more."""
        if self._reconcile.running:
            self._reconcile.stop()

    @property
    def available(self) -> bool:
        """See `IDocuments`."""
        return bool(self._database.available)

    # What there is --------------------------------------------------------------------------------------------------

    def find(self, account: str, name: str) -> Stored[T] | None:
        """The document of these names, or None."""
        return self._stored.get((account, name))

    def all(self) -> list[Stored[T]]:
        """Every document that can be read, by account and name."""
        return [self._stored[key] for key in sorted(self._stored)]

    def on_changed(self, call: Callable[[str, str], None]) -> None:
        """Be called with account and name of each document that is new, changed or gone, whoever did it."""
        self._calls.append(call)

    # Changes --------------------------------------------------------------------------------------------------------

    async def put(
        self, account: str, name: str, document: Mapping[str, Any], expected_version: int | None = None
    ) -> Stored[T]:
        """
        Write a document.

        Args:
            account, name: Together its name.
            document: What JSON can hold.
            expected_version: What is replaced; 0: nothing must be there; None: whatever is there.
        Returns:
            The document as every process has it within a second.
        Raises:
            ValueError: It cannot be read.
            StorageUnavailable: The database cannot be reached; whether it was written is then unknown.
            VersionConflict, TooManyDocuments, DocumentRefused: See there.
        """
        key = (account, name)
        text = encode(document)
        self._read(account, name, document)
        await self._lock.acquire()
        try:
            self._take_in([await self._table.put(key, text, expected_version)])
            stored = self._stored[key]
        finally:
            self._lock.release()
        await self._save()
        return stored

    async def delete(self, account: str, name: str, expected_version: int | None = None) -> bool:
        """
        Delete a document.

        Args:
            account, name: Together its name.
            expected_version: What is deleted; None: whatever is there.
        Returns:
            Whether there was one, with that version.
        Raises:
            StorageUnavailable: The database cannot be reached; whether it was deleted is then unknown.
        """
        await self._lock.acquire()
        try:
            found = await self._table.delete((account, name), expected_version)
            if found:
                self._drop([(account, name)])
        finally:
            self._lock.release()
        if found:
            await self._save()
        return found

    # Following the database -----------------------------------------------------------------------------------------

    def _heard(self, kind: str | None) -> None:
        if kind is None or kind == self._kind:
            self.run()

    def run(self) -> None:
        """Compare with the database soon; one comparison at a time."""
        if self._running:
            self._again = True
            return
        self._running = True
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: self._log.failure("Documents of the kind {kind} are not followed", failure, kind=self._kind)
        )

    async def _run(self) -> None:
        try:
            self._again = True
            while self._again:
                self._again = False
                await self.compare()
        except StorageUnavailable:
            # `when_available` will call again.
            pass
        finally:
            self._running = False

    async def compare(self) -> None:
        """
        Take in what the database has.

        Raises:
            StorageUnavailable: It cannot be reached; what was there before stays.
        """
        await self._lock.acquire()
        try:
            theirs = await self._table.versions()
            news = [
                key for key, version in theirs.items() if key not in self._rows or self._rows[key].version != version
            ]
            rows = await self._table.read(news)
            gone = [key for key in self._rows if key not in theirs]
            first, self.known = not self.known, True
            self._take_in(rows)
            self._drop(gone)
        finally:
            self._lock.release()
        if rows or gone or first:
            await self._save()

    def _take_in(self, rows: Iterable[Row]) -> None:
        for row in rows:
            key = (row.account, row.name)
            self._rows[key] = row
            stored = self._stored_of(row)
            if stored is not None:
                self._stored[key] = stored
            else:
                self._stored.pop(key, None)
            self._tell(key)

    def _stored_of(self, row: Row) -> Stored[T] | None:
        try:
            document = msgspec.json.decode(row.text, type=dict[str, Any])
            value = self._read(row.account, row.name, document)
        except (ValueError, RecursionError) as error:
            what = f"{self._kind} {row.account}/{row.name}"
            self._log.error("{what} is kept out, for it cannot be read here: {why}", what=what, why=str(error))
            return None
        return Stored(row.account, row.name, document, value, row.version, row.created_ms, row.modified_ms)

    def _drop(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._rows.pop(key, None)
            self._stored.pop(key, None)
            self._tell(key)

    def _tell(self, key: Key) -> None:
        for call in self._calls:
            try:
                call(*key)
            except Exception:
                # The other listeners must hear of the change all the same.
                self._log.failure("A listener failed when {kind} {name} changed", kind=self._kind, name=key[1])

    async def _save(self) -> None:
        """Write the copy on disk. What the disk refuses is in the database all the same."""
        try:
            await self._file.write(lambda: list(self._rows.values()))
        except OSError as error:
            self._log.error("The copy of {kind} was not written: {why}", kind=self._kind, why=error.strerror)
