"""Waiting, but not for ever."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.patience import at_most


class AtMostTests(SynchronousTestCase):
    """What ends in time, and what does not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.running: Deferred[str] = Deferred(lambda _: None)
        self.waiting = Deferred.fromCoroutine(at_most(self.clock, self.running, 2))

    def test_in_time(self) -> None:
        """The wait is over with what was waited for, whose result stays where it was."""
        self.running.callback("done")
        self.assertTrue(self.successResultOf(self.waiting))
        self.assertEqual(self.successResultOf(self.running), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over(self) -> None:
        """What does not end is left alone when its time is over, and may end later."""
        self.clock.advance(1.9)
        self.assertNoResult(self.waiting)
        self.clock.advance(0.1)
        self.assertFalse(self.successResultOf(self.waiting))
        self.running.callback("late")
        self.assertEqual(self.successResultOf(self.running), "late")

    def test_failure(self) -> None:
        """A failure is an end, and its reason is the caller's."""
        self.running.errback(ValueError("no"))
        self.assertTrue(self.successResultOf(self.waiting))
        self.failureResultOf(self.running, ValueError)
