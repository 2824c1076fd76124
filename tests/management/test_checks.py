"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.controls.master_key import FILE_NAME, ensure_master_key
from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase, ILogSink
from aigw.logs.stats import LogStats
from aigw.management.checks import Check, Doctor, check_data_dir
from aigw.values.record import Begin, End

NOW_MS = 1_800_000_000_000


@implementer(IDatabase)
class OneAnswer:
    """A database that has one answer to everything; None when it is away."""

    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self._row = row
        self.available = row is not None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        return fail(StorageUnavailable()) if self._row is None else succeed([self._row])

    def transact(self, interaction: Callable[[Any], Any]) -> Deferred[Any]:
        return fail(StorageUnavailable())

    def when_available(self, call: Callable[[], None]) -> None:
        pass


@implementer(ILogSink)
class Sink:
    """A spool that takes records or does not."""

    def __init__(self, accepting: bool) -> None:
        self.accepting = accepting

    def begin(self, record: Begin, safe: Callable[[], None]) -> None:
        raise NotImplementedError

    def end(self, record: End, safe: Callable[[], None]) -> None:
        raise NotImplementedError


class DoctorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute()
        self.data_dir.mkdir(mode=0o700)
        ensure_master_key(self.data_dir)
        self.database: IDatabase = OneAnswer(("18.4", NOW_MS + 40))
        self.ports = ["http://127.0.0.1:8787"]
        self.accepting = True
        self.stats = LogStats()
        self.backlog_bytes = 0
        self.now_ms = NOW_MS
        self.away: list[str] = []

    def checks(self) -> dict[str, Check]:
        doctor = Doctor(
            *(self.data_dir, lambda: self.ports, self.database, Sink(self.accepting), self.stats),
            *(lambda: self.backlog_bytes, lambda: self.now_ms, None, lambda: self.away),
        )
        return {check.name: check for check in self.successResultOf(Deferred.fromCoroutine(doctor()))}

    def failed(self) -> list[str]:
        return [name for name, check in self.checks().items() if not check.ok]

    def test_all_is_well(self) -> None:
        """On a healthy gateway every check passes and says what it saw."""
        self.assertEqual(self.failed(), [])
        self.assertIn("PostgreSQL 18.4", self.checks()["database"].text)
        self.assertIn("8787", self.checks()["ports"].text)

    def test_the_database_is_away(self) -> None:
        """An outage of the database is one finding, with the word that logs are safe; it is no other check's fault."""
        self.database = OneAnswer(None)
        self.assertEqual(self.failed(), ["database"])
        self.assertIn("spool", self.checks()["database"].text)

    def test_a_store_is_away(self) -> None:
        """Counters and cached answers that cannot be reached are told, with where they are set."""
        self.away = ["counters", "cache"]
        self.assertEqual(self.failed(), ["state"])
        self.assertIn("counters and cache cannot be reached", self.checks()["state"].text)

    def test_the_clock_is_wrong(self) -> None:
        """A clock that is far from the database's, or was never set, is told."""
        self.database = OneAnswer(("18.4", NOW_MS + 60_000))
        self.assertEqual(self.failed(), ["clock"])
        self.assertIn("60.0 s", self.checks()["clock"].text)
        self.database, self.now_ms = OneAnswer(None), 5_000
        self.assertIn("clock", self.failed())

    def test_the_spool_is_full(self) -> None:
        """A spool that takes nothing is told, with what waits in it."""
        self.accepting = False
        self.backlog_bytes = 12_345
        self.assertEqual(self.failed(), ["spool"])
        self.assertIn("12345 bytes", self.checks()["spool"].text)

    def test_quarantine_is_told(self) -> None:
        """Logs that the database refused are not silent."""
        self.stats.quarantine_records = 3
        self.assertEqual(self.failed(), ["spool"])

    def test_no_port(self) -> None:
        """A gateway that listens nowhere is told."""
        self.ports = []
        self.assertEqual(self.failed(), ["ports"])

    def test_the_master_key(self) -> None:
        """A missing master key is told by its path."""
        (self.data_dir / FILE_NAME).unlink()
        self.assertEqual(self.failed(), ["master key"])
        self.assertIn(FILE_NAME, self.checks()["master key"].text)

    def test_the_data_folder(self) -> None:
        """A folder that others may read is told with the command that mends it; a missing one as missing."""
        self.data_dir.chmod(0o755)
        self.assertIn(f"chmod 700 {self.data_dir}", self.checks()["data folder"].text)
        self.assertFalse(check_data_dir(self.data_dir / "none").ok)
