"""Counting exchanges."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import Unauthorized
from aigw.operations.meter import BOUNDS_MS, OTHER, Histogram, Meter
from aigw.values.record import Attempt, End, Origin, Target
from aigw.values.usage import Usage

ORIGIN = Origin(bytes(16), "local", "default", "websocket")


class HistogramTests(SynchronousTestCase):
    def test_buckets(self) -> None:
        """A duration counts in the first bucket that is not below it; the slowest have one of their own."""
        histogram = Histogram()
        for ms in (0, 5, 6, BOUNDS_MS[-1], BOUNDS_MS[-1] + 1):
            histogram.add(ms)
        self.assertEqual(histogram.buckets, [2, 1, *[0] * (len(BOUNDS_MS) - 3), 1, 1])
        self.assertEqual(histogram.sum_ms, 5 + 6 + 2 * BOUNDS_MS[-1] + 1)


class MeterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Meter(["openai", "sandbox"])

    def test_an_exchange(self) -> None:
        """What a request used and cost is counted for its provider."""
        self.meter.opened()
        self.assertEqual(self.meter.in_flight, 1)
        self.meter.ended(
            End(
                ORIGIN,
                Target("openai", request_bytes=10),
                duration_ms=40,
                first_byte_ms=7,
                status=200,
                complete=True,
                response_bytes=90,
                usage=Usage(5, 6),
                cost_nanousd=77,
                attempts=[Attempt(0, "sandbox", 500), Attempt(1, "openai", 200)],
            )
        )
        self.assertEqual(self.meter.in_flight, 0)
        counts = self.meter.providers["openai"]
        self.assertEqual((counts.exchanges, counts.attempts), ([0, 0, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0]))
        self.assertEqual(self.meter.providers["sandbox"].attempts, [0, 0, 0, 0, 0, 1])
        self.assertEqual((counts.request_bytes, counts.response_bytes), (10, 90))
        self.assertEqual((counts.tokens_in, counts.tokens_out, counts.cost_nanousd, counts.unpriced), (5, 6, 77, 0))
        self.assertEqual((counts.duration.sum_ms, counts.first_byte.sum_ms, counts.truncated), (40, 7, 0))

    def test_no_price_is_not_free(self) -> None:
        """Usage without a known price is counted as such, not as cost 0."""
        self.meter.ended(End(ORIGIN, Target("openai"), usage=Usage(5, 6)))
        self.assertEqual(self.meter.providers["openai"].unpriced, 1)

    def test_clients_make_no_labels(self) -> None:
        """However many providers a client invents, memory does not grow."""
        for number in range(100):
            self.meter.ended(End(ORIGIN, Target(f"made-up-{number}"), status=400, error_code=2008))
        self.assertEqual(set(self.meter.providers), {"openai", "sandbox", OTHER})
        self.assertEqual(self.meter.providers[OTHER].exchanges, [0, 0, 0, 0, 100, 0])
        self.assertEqual(self.meter.errors, {2008: 100})

    def test_endings(self) -> None:
        """A broken answer, a status of no class, and a refusal before any log are all counted."""
        self.meter.ended(End(ORIGIN, Target("openai"), status=200, response_bytes=5, complete=False))
        self.meter.ended(End(ORIGIN, Target("openai"), status=999))
        self.meter.refused(Unauthorized())
        self.assertEqual(self.meter.providers["openai"].truncated, 1)
        self.assertEqual(self.meter.providers["openai"].exchanges, [1, 0, 1, 0, 0, 0])
        self.assertEqual(self.meter.refusals, {2009: 1})
