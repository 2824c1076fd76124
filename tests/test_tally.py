from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.tally import Tally, objections, read_tally

RULE = "-" * 79


class TallyTests(SynchronousTestCase):
    """Whether a run of the tests counts as green."""

    def test_green_run(self) -> None:
        """A run without skips reads as so many passed, none failed."""
        tally = read_tally(f"tests.test_x ... [OK]\n\n{RULE}\nRan 12 tests in 3.141s\n\nPASSED (successes=12)\n")
        self.assertEqual(tally, Tally(ran=12, passed=12, failed=0, skipped=0))
        self.assertEqual(str(tally), "12 passed, 0 failed")
        self.assertEqual(objections(tally, 12, skips_allowed=False), [])

    def test_failures_and_errors_are_added_up(self) -> None:
        """Both kinds of failure count, whatever else trial counts beside them."""
        verdict = "FAILED (skips=3, expectedFailures=1, failures=2, errors=4, unexpectedSuccesses=1, successes=10)"
        tally = read_tally(f"{RULE}\nRan 21 tests in 1.000s\n\n{verdict}\n")
        self.assertEqual(tally, Tally(ran=21, passed=11, failed=7, skipped=3))
        self.assertEqual(str(tally), "11 passed, 7 failed, 3 skipped")

    def test_last_summary_counts(self) -> None:
        """A test that prints a summary of its own does not hide the real one."""
        fake = f"{RULE}\nRan 900 tests in 0.001s\n\nPASSED (successes=900)\n"
        tally = read_tally(f"{fake}{RULE}\nRan 1 tests in 1.000s\n\nFAILED (errors=1)\n")
        self.assertEqual(tally, Tally(ran=1, passed=0, failed=1, skipped=0))

    def test_run_that_died(self) -> None:
        """A run that was killed in the middle is no success, even when an earlier summary is in its output."""
        self.assertIsNone(read_tally("tests.test_x ... [OK]\n"))
        self.assertIsNone(read_tally(f"{RULE}\nRan 7 tests in 0.1s\n"))
        self.assertNotEqual(objections(None, 0, skips_allowed=True), [])

    def test_no_tests_at_all(self) -> None:
        """Trial's success without a test is refused by the floor."""
        tally = read_tally(f"{RULE}\nRan 0 tests in 0.000s\n\nPASSED\n")
        self.assertEqual(tally, Tally(ran=0, passed=0, failed=0, skipped=0))
        self.assertIn("FLOOR", objections(tally, 1, skips_allowed=True)[0])

    def test_skips_count_only_in_ci(self) -> None:
        """A developer without Node may skip its tests; continuous integration may not."""
        tally = Tally(ran=5, passed=4, failed=0, skipped=1)
        self.assertEqual(objections(tally, 5, skips_allowed=True), [])
        self.assertIn("skipped", objections(tally, 5, skips_allowed=False)[0])
