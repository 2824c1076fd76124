"""Moments as texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.moment import utc_text


class MomentTests(SynchronousTestCase):
    def test_utc_with_milliseconds(self) -> None:
        """Times are in UTC and always have three decimals, so that they sort as texts."""
        self.assertEqual(utc_text(0), "1970-01-01T00:00:00.000Z")
        self.assertEqual(utc_text(1_800_000_000_007), "2027-01-15T08:00:00.007Z")
