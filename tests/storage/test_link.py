"""One connection, closed at awkward moments."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import StorageUnavailable
from aigw.storage.dsn import read_dsn
from aigw.storage.link import Link
from aigw.testing.postgres import fresh_database


class SlowCursor:
    """A cursor of txpostgres whose statement ends when the test says so."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def execute(self, sql: str, parameters: Any) -> Deferred[None]:
        """See txpostgres."""
        return self.ended


class ClosingTests(TestCase):
    """A pool is stopped while statements run."""

    timeout = 30

    async def test_an_answer_that_comes_as_the_connection_closes(self) -> None:
        """Its rows are gone with the connection, so the caller hears that, in the words for every lost connection."""
        link, cursor = Link(reactor, answer_s=20.0), SlowCursor()
        self.addCleanup(link.close)
        await link.open(read_dsn(await fresh_database(reactor)), connect_s=5.0)
        answer = link.run(cursor, "SELECT 1", (), 20.0)
        link.close("the pool was stopped")
        cursor.ended.callback(None)
        failure = self.failureResultOf(answer, StorageUnavailable)
        self.assertIn("stopped", failure.getErrorMessage())
