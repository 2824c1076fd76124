"""How rules are worded."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.rule_terms import MOST_NANOUSD, nanousd, plain


class NumberTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Amounts read as the owner wrote them."""
        self.assertEqual(
            [plain(number) for number in (0.002, 5.0, 1e6, 100, 1e-9)], ["0.002", "5", "1000000", "100", "0.000000001"]
        )

    def test_nanousd(self) -> None:
        """A limit in dollars is exact to the nano-dollar, never nothing, and fits a counter whatever was written."""
        for usd, amount in ((0.002, 2_000_000), (0.1, 100_000_000), (1e-12, 1), (1e15, MOST_NANOUSD)):
            self.assertEqual(nanousd(usd), amount)
