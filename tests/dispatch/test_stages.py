"""One order of stages, in the code, in its docstring and in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch import stages

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.rst"


def listed(text: str) -> list[tuple[int, str]]:
    """The numbered stages of a text, by number and name."""
    found = re.findall(r"^(\d+)\. (?:\*\*)?([a-z -]+?)(?:\*\*:| - )", text, re.MULTILINE)
    return [(int(number), name) for number, name in found]


class StageTests(SynchronousTestCase):
    """The list of stages."""

    def test_docstring_is_the_code(self) -> None:
        """The docstring lists the enumeration's members, in their order and with their numbers."""
        names = {
            stage.value: re.sub("[^a-z]", "", stage.name.lower().replace("guard_", "guard_the_"))
            for stage in stages.Stage
        }
        written = {number: re.sub("[^a-z]", "", name) for number, name in listed(stages.__doc__ or "")}
        self.assertEqual(written, names)
        self.assertEqual(sorted(names), list(range(1, len(names) + 1)))

    def test_documentation_is_the_docstring(self) -> None:
        """The architecture page has the same list."""
        page = ARCHITECTURE.read_text().partition(".. _stages:")[2].partition("What always holds")[0]
        self.assertEqual(listed(page), listed(stages.__doc__ or ""))
