"""A database that is not there yet."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aigw.errors import SchemaTooNew, StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.storage.late import LateDatabase


@implementer(IDatabase)
class Arriving:
    """A database that writes down what it is asked."""

    available = True

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.reaching: Deferred[None] = Deferred()

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

    def reached(self) -> Deferred[None]:
        """See `Database.reached`."""
        return self.reaching

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

    def test_waiting_for_the_first_answer(self) -> None:
        """Whoever waits is told when the database that arrives answers, and hears why when it will not do."""
        late, real = LateDatabase(), Arriving()
        early = late.reached()
        late.arrived(real)
        self.assertNoResult(early)
        real.reaching.errback(SchemaTooNew("newer"))
        self.failureResultOf(early, SchemaTooNew)
        real.reaching = succeed(None)
        self.successResultOf(late.reached())

    def test_stopped_before_the_arrival(self) -> None:
        """Who waits for a database that will not come is told so, once, also when he has left."""
        late = LateDatabase()
        waiting, gone = late.reached(), late.reached()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.successResultOf(Deferred.fromCoroutine(late.stop()))
        self.failureResultOf(waiting, StorageUnavailable)

    def test_after(self) -> None:
        """From then on everything goes to the real one."""
        late, real = LateDatabase(), Arriving()
        late.arrived(real)
        self.successResultOf(late.query("SELECT %s", (1,)))
        self.successResultOf(Deferred.fromCoroutine(late.stop()))
        self.assertTrue(late.available)
        self.assertEqual(real.asked, [("SELECT %s", (1,)), "stop"])
