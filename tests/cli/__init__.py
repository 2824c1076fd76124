"""The command, run as a process of its own, as an operator runs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.management.control import Control

ROOT = Path(__file__).parent.parent.parent


@attrs.frozen
class Ran:
    """
    What came of a command.

    Attributes:
        out, err: What it wrote.
        code: Its exit code.
    """

    out: str
    err: str
    code: int

    def objects(self) -> list[Any]:
        """The output as JSON, one value a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def error(self) -> dict[str, str]:
        """The complaint on standard error, as JSON."""
        error: dict[str, str] = json.loads(self.err)["error"]
        return error


class CommandTestCase(TestCase):
    """
    Runs `aigw` in a folder of its own.

    Attributes:
        folder: The command's working directory.
        data_dir: Where the command looks for the gateway when it is not told otherwise.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.data_dir = self.folder / "aigw-data"

    def start(self, data_dir: Path | None = None) -> Control:
        """A running gateway, as far as a command can tell."""
        control = Control(data_dir or self.data_dir)
        control.socket.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(control.socket.stop()))
        return control

    async def run_aigw(self, *arguments: str, **environ: str) -> Ran:
        """Run the command to its end."""
        return await self.run_python("-m", "aigw.cli", *arguments, **environ)

    async def run_python(self, *arguments: str, **environ: str) -> Ran:
        """Run a program of Python in the folder."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIGW_")}
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            arguments,
            env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **environ},
            path=str(self.folder),
            reactor=reactor,
        )
        return Ran(out.decode(), err.decode(), code)
