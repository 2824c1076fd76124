"""Moments as texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.moment import parse_utc, utc_text


class MomentTests(SynchronousTestCase):
    def test_utc_with_milliseconds(self) -> None:
        """Times are in UTC and always have three decimals, so that they sort as texts."""
        self.assertEqual(utc_text(0), "1970-01-01T00:00:00.000Z")
        self.assertEqual(utc_text(1_800_000_000_007), "2027-01-15T08:00:00.007Z")

    def test_what_people_type(self) -> None:
        """A date, a time with or without a zone, and anything else."""
        for text, ms in (
            ("2027-01-15T08:00:00.007Z", 1_800_000_000_007),
            ("2027-01-15T09:00:00.007+01:00", 1_800_000_000_007),
            ("2027-01-15 08:00", 1_800_000_000_000),
            ("1970-01-02", 86_400_000),
            ("0001-01-01T00:00:00+14:00", -62_135_647_200_000),
        ):
            self.assertEqual(parse_utc(text), ms)
        for text in ("", "now", "12h", "3600", "2027-13-01", "2027-01-15T25:00", "\0"):
            self.assertIsNone(parse_utc(text))
