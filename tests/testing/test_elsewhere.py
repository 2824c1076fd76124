"""A folder that root's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.testing.elsewhere import VARIABLE, elsewhere

PARENT = """
import os, subprocess, sys
from aigw.testing.elsewhere import elsewhere
print(elsewhere(), oct(os.stat(elsewhere()).st_mode), flush=True)
subprocess.run([sys.executable, "-c", "from aigw.testing.elsewhere import elsewhere; print(elsewhere())"])
print(os.path.isdir(elsewhere()))
"""


class ElsewhereTests(SynchronousTestCase):
    def test_one_for_a_run(self) -> None:
        """The tests and what they start share one folder, which everybody may pass, and nothing is left of it."""
        environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
        environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(each) for each in sys.path)
        output = subprocess.run([sys.executable, "-c", PARENT], env=environ, capture_output=True, text=True, check=True)
        parent, mode, child, there = output.stdout.split()
        self.assertEqual((child, mode, there), (parent, "0o40755", "True"))
        self.assertFalse(Path(parent).exists())

    def test_absolute(self) -> None:
        """The folder means the same in every process, wherever that works."""
        self.assertTrue(Path(elsewhere()).is_absolute())
