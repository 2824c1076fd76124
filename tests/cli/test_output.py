"""What a table's cells show."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.cli.output import cell, readable


class CellTests(SynchronousTestCase):
    def test_cells(self) -> None:
        """What is not there is a dash, a zero is a zero, and no amount is so small that it reads as a power of ten."""
        shown = [cell(value) for value in (None, "", [], 0, 0.0, 0.0000125, 12.5, True, False, ["a", "b"], {"a": 1})]
        self.assertEqual(shown, ["-", "-", "-", "0", "0", "0.0000125", "12.5", "yes", "no", "a, b", '{"a": 1}'])

    def test_nobody_steers_the_terminal(self) -> None:
        """Escape sequences in what a client or a provider wrote do not reach the terminal; a cell stays on its line."""
        self.assertEqual(cell("a\x1b[31m\nb"), "a\ufffd[31m\ufffdb")
        self.assertEqual(readable("a\n\tb\r\x9b"), "a\n\tb\ufffd\ufffd")
