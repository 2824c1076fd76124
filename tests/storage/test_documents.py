"""Documents of two processes meet in a real PostgreSQL."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from aigw.errors import ConfigurationError, StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.database import Database
from aigw.storage.document_file import DocumentFile
from aigw.storage.document_table import Row, TooManyDocuments
from aigw.storage.documents import RECONCILE_S, Documents
from aigw.storage.dsn import read_dsn
from aigw.storage.late import LateDatabase
from aigw.testing.postgres import fresh_database
from tests.storage.documents_contract import DocumentsContract, colour


def documents(database: Any, path: Path, clock: Any = None) -> Documents[str]:
    """One process's documents, with what their table's neighbours are not asked."""
    return Documents("colours", database, DocumentFile(path, execute), colour, clock or Clock())


class SharedDocumentsTests(DocumentsContract, TestCase):
    async def setUp(self) -> None:
        self.dsn = read_dsn(await fresh_database(reactor))
        self.database = self.connect()
        await self.database.reached()
        self.path = Path(self.mktemp())
        self.here, self.there = self.node(self.path), self.node(Path(self.mktemp()))
        await self.here.compare()
        await self.there.compare()

    def connect(self) -> Database:
        database = Database(reactor, self.dsn)
        database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        return database

    def node(self, path: Path, clock: Any = None) -> Documents[str]:
        made = documents(self.database, path, clock)
        made.start()
        self.addCleanup(made.stop)
        return made

    async def test_a_change_reaches_the_other_process(self) -> None:
        """What is written on one process is there on the other without anybody asking, with the same version."""
        told: Deferred[None] = Deferred()
        self.there.on_changed(lambda account, name: told.callback(None))
        made = await self.here.put("local", "sky", {"colour": "blue"})
        await told
        found = self.there.find("local", "sky")
        assert found is not None
        self.assertEqual((found.value, found.version), ("blue", made.version))
        self.assertEqual(self.here.find("local", "sky"), made)

    async def test_what_a_newer_release_wrote(self) -> None:
        """A document that cannot be read harms only itself; it works as soon as it can be read."""
        await self.database.query(
            "INSERT INTO documents (kind, account, name, document) VALUES ('colours', 'local', 'odd', '{\"hue\": 7}'),"
            " ('colours', 'local', 'sky', '{\"colour\": \"blue\"}'), ('others', 'local', 'x', '{\"colour\": \"no\"}')"
        )
        await self.here.compare()
        self.assertEqual([one.name for one in self.here.all()], ["sky"])
        self.assertEqual([one.name for one in documents_on(self.path).all()], ["sky"])
        await self.here.put("local", "odd", {"colour": "mauve"})
        self.assertEqual([one.name for one in self.here.all()], ["odd", "sky"])

    async def test_a_start_without_database(self) -> None:
        """After an outage of the database, a start has what was there before, and can change nothing."""
        await self.here.put("local", "sky", {"colour": "blue"})
        again = documents_on(self.path)
        self.assertTrue(again.known)
        self.assertEqual([(one.name, one.value) for one in again.all()], [("sky", "blue")])
        await self.assertFailure(
            Deferred.fromCoroutine(again.put("local", "sky", {"colour": "red"})), StorageUnavailable
        )
        self.assertEqual([one.value for one in again.all()], ["blue"])

    async def test_a_lost_notification(self) -> None:
        """What no notification told is found by the comparison that all processes make now and then."""
        clock = Clock()
        slow = self.node(Path(self.mktemp()), clock)
        await slow.compare()
        told: Deferred[None] = Deferred()
        slow.on_changed(lambda account, name: told.callback(None))
        await self.database.query(
            "INSERT INTO documents (kind, account, name, document)"
            " VALUES ('colours', 'local', 'sky', '{\"colour\": \"red\"}')"
        )
        clock.advance(RECONCILE_S)
        await told
        self.assertEqual([one.value for one in slow.all()], ["red"])

    async def test_a_deleted_document_is_gone_everywhere(self) -> None:
        """Also on the disk, so that a start does not bring it back."""
        await self.here.put("local", "sky", {"colour": "blue"})
        await self.there.compare()
        told: Deferred[None] = Deferred()
        self.there.on_changed(lambda account, name: told.callback(None))
        self.assertTrue(await self.here.delete("local", "sky"))
        await told
        self.assertEqual((self.there.all(), documents_on(self.path).all()), ([], []))
        self.assertFalse(await self.here.delete("local", "sky"))

    async def test_there_is_an_end_to_it(self) -> None:
        """No process is made to hold more documents than it is good for."""
        await self.database.query(
            "INSERT INTO documents (kind, account, name, document)"
            " SELECT 'colours', 'local', 'n' || i, '{\"colour\": \"red\"}' FROM generate_series(1, 10000) AS i"
        )
        await self.assertFailure(self.writing("blue"), TooManyDocuments)
        await self.here.put("local", "n1", {"colour": "blue"})


def documents_on(path: Path) -> Documents[str]:
    """What a start without database knows."""
    made = documents(LateDatabase(), path)
    made.start()
    made.stop()
    return made


@implementer(IDatabase)
class SlowDatabase:
    """Writes at once, and answers a question when the test says so."""

    available = True

    def __init__(self) -> None:
        self.questions: list[Deferred[list[tuple[Any, ...]]]] = []

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        """See `IDatabase`."""
        self.questions.append(Deferred())
        return self.questions[-1]

    def transact(self, interaction: Any) -> Deferred[Row]:
        """See `IDatabase`."""
        return succeed(Row("local", "sky", 7, '{"colour": "blue"}', 1, 1))

    def when_available(self, call: Any) -> None:
        """See `IDatabase`."""

    def listen(self, channel: str, heard: Any) -> None:
        """See `IDatabase`."""


class OrderTests(SynchronousTestCase):
    def test_an_old_look_undoes_no_new_write(self) -> None:
        """A document that is written while its kind is being read is not taken for one that somebody has deleted."""
        database = SlowDatabase()
        made = documents(database, Path(self.mktemp()))
        reading = Deferred.fromCoroutine(made.compare())
        writing = Deferred.fromCoroutine(made.put("local", "sky", {"colour": "blue"}))
        database.questions[0].callback([])
        self.successResultOf(reading)
        self.successResultOf(writing)
        self.assertEqual([one.value for one in made.all()], ["blue"])


class DocumentFileTests(SynchronousTestCase):
    """The copy on disk."""

    def test_only_the_owner_may_read(self) -> None:
        """The file is private, also when an earlier attempt left a public one behind."""
        path = Path(self.mktemp())
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(b"left by a crash")
        beside.chmod(0o666)
        self.successResultOf(Deferred.fromCoroutine(DocumentFile(path, execute).write(list)))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(DocumentFile(path, execute).read(), ())

    def test_damage_stops_the_start(self) -> None:
        """A damaged file is reported by its path: to go on without it would drop the owner's limits."""
        path = Path(self.mktemp())
        for damage in (b"", b'{"version":1,"documents":[', b"\xff"):
            path.write_bytes(damage)
            error = self.assertRaises(ConfigurationError, documents(LateDatabase(), path).start)
            self.assertIn(str(path), str(error))

    def test_nothing_is_known_before_the_first_look(self) -> None:
        """Without a copy and without a database, nobody can say what there is."""
        made = documents_on(Path(self.mktemp()))
        self.assertEqual((made.known, made.all()), (False, []))
