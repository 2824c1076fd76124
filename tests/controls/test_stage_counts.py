"""Metrics tell what each control did."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.stage_counts import STAGES, StageCounts


class StageCountsTests(SynchronousTestCase):
    def test_every_stage_is_there(self) -> None:
        """A metric exists before anything is counted, and two gateways count apart."""
        counts = StageCounts()
        self.assertEqual(counts, dict.fromkeys(STAGES, 0))
        counts["cache"] += 1
        self.assertEqual((counts["cache"], StageCounts()["cache"]), (1, 0))
