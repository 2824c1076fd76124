"""A database that is not there yet."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.late import LateDatabase


@implementer(IDatabase)
class Arriving:
    """A database that writes down what it is asked."""

    available = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def query(self, sql: str, parameters: Any = ()) -> Deferred[Any]:
        """See `IDatabase`."""
        self.asked.append((sql, parameters))
        return succeed([])

    def transact(self, interaction: Any) -> Deferred[Any]:
        """See `IDatabase`."""
        self.asked.append(interaction)
        return succeed(None)

    def when_available(self, call: Any) -> None:
        """See `IDatabase`."""
        call()

    def listen(self, channel: str, heard: Any) -> None:
        """See `Database.listen`."""
        self.asked.append(channel)

    async def stop(self) -> None:
        """See `Database.stop`."""
        self.asked.append("stop")


class LateDatabaseTests(SynchronousTestCase):
    """Before and after the server's arrival."""

    def test_before(self) -> None:
        """Nobody waits for a server that is still being started."""
        late = LateDatabase()
        verifyObject(IDatabase, late)
        self.assertFalse(late.available)
        self.failureResultOf(late.query("SELECT 1"), StorageUnavailable)
        self.failureResultOf(late.transact(lambda cursor: succeed(None)), StorageUnavailable)
        self.successResultOf(Deferred.fromCoroutine(late.stop()))

    def test_what_was_asked_before_counts_after(self) -> None:
        """Whoever asked to be told, or to listen, before the arrival is served by what arrives."""
        late, real, told = LateDatabase(), Arriving(), []
        late.when_available(lambda: told.append("early"))
        late.listen("early", print)
        self.assertEqual(told, [])
        late.arrived(real)
        late.when_available(lambda: told.append("late"))
        late.listen("late", print)
        self.assertEqual((told, real.asked), (["early", "late"], ["early", "late"]))

    def test_after(self) -> None:
        """From then on everything goes to the real one."""
        late, real = LateDatabase(), Arriving()
        late.arrived(real)
        self.successResultOf(late.query("SELECT %s", (1,)))
        self.successResultOf(Deferred.fromCoroutine(late.stop()))
        self.assertTrue(late.available)
        self.assertEqual(real.asked, [("SELECT %s", (1,)), "stop"])
