"""Waiting for a shared store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import StateUnavailable
from aigw.state.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Who asks, and for how long."""

    def setUp(self) -> None:
        """A store that has one second."""
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, 1.0, 3)
        self.late: list[str] = []

    def ask(self) -> tuple[Deferred[str], Deferred[str]]:
        """A question: what the store will answer, and what the asker hears."""
        running: Deferred[str] = Deferred()
        return running, self.deadlines.bound(running, self.late.append)

    def test_in_time(self) -> None:
        """An answer in time is passed on, and leaves nothing behind."""
        running, asked = self.ask()
        running.callback("yes")
        self.assertEqual(self.successResultOf(asked), "yes")
        self.clock.advance(1)
        self.assertEqual((self.clock.getDelayedCalls(), self.late, self.deadlines.late), ([], [], 0))

    def test_at_once(self) -> None:
        """An answer that is there already needs no timer."""
        self.assertEqual(self.successResultOf(self.deadlines.bound(succeed(1))), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """Who waits too long is told so; the answer that comes then ends the store's silence and is handed back."""
        running, asked = self.ask()
        self.clock.advance(0.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.failureResultOf(asked, StateUnavailable)
        self.assertEqual((self.deadlines.silent, self.deadlines.late), (True, 1))
        running.callback("late")
        self.assertEqual((self.deadlines.silent, self.late), (False, ["late"]))

    def test_each_has_its_time(self) -> None:
        """One timer serves all, and none waits longer or shorter than its time."""
        first = self.ask()[1]
        self.clock.advance(0.6)
        second = self.ask()[1]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.4)
        self.failureResultOf(first, StateUnavailable)
        self.assertNoResult(second)
        self.clock.advance(0.6)
        self.failureResultOf(second, StateUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Who leaves hears so at once, is not counted as late, and what the store did for them is handed back."""
        running, asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.clock.advance(2)
        self.assertEqual((self.deadlines.late, self.deadlines.silent), (0, False))
        running.callback("taken")
        self.assertEqual(self.late, ["taken"])

    def test_failed(self) -> None:
        """The store's error is passed on; one that comes late is nobody's."""
        first, second = self.ask(), self.ask()
        first[0].errback(StateUnavailable("no"))
        self.failureResultOf(first[1], StateUnavailable)
        self.clock.advance(1)
        self.failureResultOf(second[1], StateUnavailable)
        second[0].errback(StateUnavailable("no"))
        self.assertTrue(self.deadlines.silent)

    def test_bound(self) -> None:
        """So many questions may be under way, also when nobody waits for them any more."""
        asked: list[Any] = [self.ask() for _ in range(3)]
        with self.assertRaises(StateUnavailable):
            self.deadlines.admit(True)
        self.clock.advance(1)
        for _, each in asked:
            self.failureResultOf(each, StateUnavailable)
        with self.assertRaises(StateUnavailable):
            self.deadlines.admit(True)
        asked[0][0].callback("x")
        self.deadlines.admit(True)
        with self.assertRaises(StateUnavailable):
            self.deadlines.admit(False)
        self.assertEqual(self.deadlines.turned_away, 3)

    def test_stop(self) -> None:
        """When the store is closed, everybody who waits is told."""
        asked = [self.ask()[1] for _ in range(2)]
        self.deadlines.stop()
        for each in asked:
            self.failureResultOf(each, StateUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
