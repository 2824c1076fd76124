"""Waiting for a free connection."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import StorageUnavailable
from aigw.storage.callers import Callers
from aigw.storage.link import Link


class CallersTests(SynchronousTestCase):
    """Who is served, and who is turned away."""

    def setUp(self) -> None:
        """A line for two, who wait for ten seconds each."""
        self.clock = Clock()
        self.callers = Callers(self.clock, limit=2, wait_s=10.0)
        self.link = Link(self.clock, answer_s=1.0)

    def test_first_come_first_served(self) -> None:
        """Connections go to those who wait, in order, and to nobody when nobody does."""
        first, second = self.callers.wait(), self.callers.wait()
        self.assertTrue(self.callers.serve(self.link))
        self.assertIs(self.successResultOf(first), self.link)
        self.assertNoResult(second)
        self.assertTrue(self.callers.serve(self.link))
        self.assertFalse(self.callers.serve(self.link))
        self.successResultOf(second)

    def test_a_full_line(self) -> None:
        """One too many is turned away at once; one who leaves makes room."""
        first, _ = self.callers.wait(), self.callers.wait()
        self.failureResultOf(self.callers.wait(), StorageUnavailable)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(self.callers.wait())

    def test_waiting_ends(self) -> None:
        """Whoever has waited long enough is turned away, and those who came later wait on."""
        first = self.callers.wait()
        self.clock.advance(5)
        second = self.callers.wait()
        self.clock.advance(5)
        self.callers.expire()
        self.failureResultOf(first, StorageUnavailable)
        self.assertNoResult(second)

    def test_the_database_is_gone(self) -> None:
        """With the database gone everybody hears why."""
        first, second = self.callers.wait(), self.callers.wait()
        self.callers.turn_away("gone")
        for each in (first, second):
            self.assertEqual(str(self.failureResultOf(each, StorageUnavailable).value), "gone")
