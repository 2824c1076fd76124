"""Corrections on their way."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import StateUnavailable
from aigw.state.settling import BATCH, GATHER_S, RETRY_S, Batch, Settling
from aigw.values.counting import Correction
from tests.state.counters_contract import correction


class SettlingTests(SynchronousTestCase):
    """What reaches the store."""

    def setUp(self) -> None:
        """A store that answers when it is told to."""
        self.clock = Clock()
        self.sent: list[Batch] = []
        self.answers: list[Deferred[None]] = []
        self.settling = Settling(self.clock, self.apply, b"me", 1_000)

    def apply(self, batch: Batch) -> Deferred[None]:
        """See `Settling`."""
        self.sent.append(batch)
        self.answers.append(Deferred())
        return self.answers[-1]

    def deltas(self, batch: int = -1) -> list[tuple[str, int]]:
        """What a batch corrects."""
        return [(each.key, each.delta) for each in self.sent[batch].corrections]

    def test_gathered(self) -> None:
        """Corrections of a moment go together, those of one counter as one."""
        self.settling.add([correction(5, "a"), correction(1, "b")])
        self.settling.add([correction(-7, "a")])
        self.assertEqual(self.sent, [])
        self.clock.advance(GATHER_S)
        self.assertEqual(self.deltas(), [("a", -2), ("b", 1)])

    def test_one_after_the_other(self) -> None:
        """A batch waits for the one before, and has the next number."""
        self.settling.add([correction(1, "a")])
        self.clock.advance(GATHER_S)
        self.settling.add([correction(2, "a")])
        self.clock.advance(1)
        self.assertEqual(len(self.sent), 1)
        self.answers[0].callback(None)
        self.clock.advance(GATHER_S)
        self.assertEqual([(each.writer, each.number) for each in self.sent], [(b"me", 1), (b"me", 2)])
        self.assertEqual(self.deltas(), [("a", 2)])

    def test_sent_again(self) -> None:
        """A batch whose answer was lost is sent again as it was, under its number; what has come since waits."""
        self.settling.add([correction(1, "a")])
        self.clock.advance(GATHER_S)
        self.answers[0].errback(StateUnavailable("gone"))
        self.settling.add([correction(1, "a")])
        self.clock.advance(RETRY_S)
        self.assertEqual(self.sent[1], self.sent[0])
        self.answers[1].callback(None)
        self.clock.advance(GATHER_S)
        self.assertEqual((self.sent[2].number, self.deltas()), (2, [("a", 1)]))

    def test_waiting_for_them(self) -> None:
        """Who waits for corrections waits for those that were there, in however many batches, and for no later ones."""
        self.assertIsNone(self.settling.when_sent())
        self.settling.add([Correction(f"k{n}", 1, 1, 1) for n in range(BATCH + 1)])
        waiting = self.settling.when_sent()
        assert waiting is not None
        self.clock.advance(GATHER_S)
        self.settling.add([correction(1, "later")])
        self.answers[0].callback(None)
        self.clock.advance(GATHER_S)
        self.assertNoResult(waiting)
        under_way = self.settling.when_sent()
        assert under_way is not None
        self.answers[1].errback(StateUnavailable("gone"))
        self.clock.advance(RETRY_S)
        self.assertNoResult(waiting)
        self.answers[2].callback(None)
        self.successResultOf(waiting)
        self.successResultOf(under_way)
        self.settling.add([correction(1, "never")])
        never = self.settling.when_sent()
        assert never is not None
        self.settling.stop()
        self.failureResultOf(never, StateUnavailable)

    def test_refused(self) -> None:
        """What the store does not understand is logged, counted and not sent again; the next goes on."""
        self.settling.add([correction(1, "a"), correction(1, "b")])
        self.clock.advance(GATHER_S)
        self.answers[0].errback(ValueError("what?"))
        self.assertEqual((self.settling.dropped, len(self.settling)), (2, 0))
        self.settling.add([correction(1, "c")])
        self.clock.advance(GATHER_S)
        self.assertEqual(self.deltas(), [("c", 1)])

    def test_bound(self) -> None:
        """While the store is away a bounded number of counters waits; more are dropped and counted."""
        many = [Correction(f"k{n}", 1, 1, 1) for n in range(1_200)]
        self.settling.add(many)
        self.settling.add(many[:10])
        self.assertEqual((len(self.settling), self.settling.dropped), (1_000, 200))

    def test_batches(self) -> None:
        """However many there are, a batch is no longer than the store takes at a time."""
        self.settling.add([Correction(f"k{n}", 1, 1, 1) for n in range(1_000)])
        self.clock.advance(GATHER_S)
        self.answers[0].callback(None)
        self.clock.advance(GATHER_S)
        self.assertEqual([len(each.corrections) for each in self.sent], [BATCH, 1_000 - BATCH])

    def test_empty(self) -> None:
        """Who waits for the last correction is told when it was applied."""
        self.assertIsNone(self.successResultOf(self.settling.when_empty()))
        self.settling.add([correction(1)])
        emptied = self.settling.when_empty()
        self.clock.advance(GATHER_S)
        self.assertNoResult(emptied)
        self.answers[0].callback(None)
        self.successResultOf(emptied)

    def test_stop(self) -> None:
        """After a stop nothing is sent, and what was left is counted."""
        self.settling.add([correction(1, "a")])
        self.clock.advance(GATHER_S)
        self.settling.add([correction(1, "b")])
        emptied = self.settling.when_empty()
        self.settling.stop()
        self.successResultOf(emptied)
        self.answers[0].errback(StateUnavailable("gone"))
        self.settling.add([correction(1, "c")])
        self.assertEqual((self.settling.dropped, self.clock.getDelayedCalls(), len(self.sent)), (3, [], 1))
