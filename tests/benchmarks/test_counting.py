"""The work of a request, held to a record."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from benchmarks.counting import PYTHON, TOLERANCE, recorded

ROOT = Path(__file__).parents[2]
# Another Python counts comprehensions and C's functions a little differently.
OTHER_PYTHON_TOLERANCE = 0.15
# Blocks of memory that a request may leave behind: the numbers in counters and the like, no object of its own.
KEPT_BLOCKS = 3.0


class CountingTests(TestCase):
    """A fixed run, in a process of its own, whose hashes are always the same."""

    timeout = 120

    def setUp(self) -> Deferred[None]:
        from twisted.internet import reactor

        environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        counting = getProcessOutputAndValue(
            *(sys.executable, ["-m", "benchmarks.counting", "--json"]), env=environ, path=str(ROOT), reactor=reactor
        )
        return counting.addCallback(self._keep)

    def _keep(self, result: tuple[bytes, bytes, int]) -> None:
        output, trouble, code = result
        self.assertEqual(code, 0, trouble.decode())
        self.found: dict[str, Any] = json.loads(output)

    def test_requests_cost_what_they_did(self) -> None:
        """
        A change that makes each request do more work is seen, whatever the machine is busy with.

        Is the work wanted, `python -m benchmarks.counting --update` keeps the new numbers.
        """
        record = recorded()
        tolerance = TOLERANCE if record["python"] == PYTHON else OTHER_PYTHON_TOLERANCE
        worse = {
            name: f"{self.found[name]['calls']} calls a request, {numbers['calls']} on record"
            for name, numbers in record["runs"].items()
            if self.found[name]["calls"] > numbers["calls"] * (1 + tolerance)
        }
        self.assertEqual(worse, {})

    def test_requests_leave_no_memory_behind(self) -> None:
        """A gateway that has served any number of requests is no larger for it."""
        grown = {name: each["kept_blocks"] for name, each in self.found.items() if each["kept_blocks"] > KEPT_BLOCKS}
        self.assertEqual(grown, {})
