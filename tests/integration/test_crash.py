from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).parents[2]
CLEAN = "finals_without_row=0 seen_without_row=0 duplicates=0"


class StormProcess(ProcessProtocol):
    """`python -m tests.integration.crash`, as `make crash` runs it."""

    def __init__(self, reactor: Any, arguments: str) -> None:
        self.output = ""
        self.raging: Deferred[str] = Deferred()
        self.ended: Deferred[int] = Deferred()
        command = [sys.executable, "-m", "tests.integration.crash", *arguments.split()]
        reactor.spawnProcess(self, sys.executable, command, env=os.environ, path=str(ROOT))

    def outReceived(self, data: bytes) -> None:
        """See `ProcessProtocol`."""
        self.output += data.decode()
        begun = re.search(r"storm in (\S+):.*\n.* kills to come", self.output)
        if begun and not self.raging.called:
            self.raging.callback(begun[1])

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """See `ProcessProtocol`."""
        value: Any = reason.value
        self.ended.callback(value.exitCode)


class CrashTests(TestCase):
    """kill -9 of a gateway under load, again and again."""

    timeout = 120

    def storm(self, arguments: str) -> StormProcess:
        """A storm under way."""
        from twisted.internet import reactor

        return StormProcess(reactor, arguments)

    async def test_database_up_and_down(self) -> None:
        """
        After ten kills each with the database up and down, every ending that a client got and every request that a
        provider saw has exactly one row.
        """
        # Side by side: a storm waits for starting gateways most of the time.
        storms = [self.storm("--kills 10 --db up --seed 3"), self.storm("--kills 10 --db down --disk 16M --seed 4")]
        for storm in storms:
            self.assertEqual(await storm.ended, 0, storm.output)
            self.assertEqual(storm.output.splitlines()[-1], CLEAN)
            self.assertIn("kills=10 ", storm.output)

    async def test_interrupted(self) -> None:
        """Ctrl-C in the middle of a storm leaves no process, no mount and no file behind."""
        storm = self.storm("--kills 30 --db flap")
        folder = await storm.raging
        assert storm.transport is not None
        storm.transport.signalProcess("INT")
        self.assertNotEqual(await storm.ended, 0)
        self.assertFalse(Path(folder).exists())
        self.assertNotIn(folder, Path("/proc/mounts").read_text())
        self.assertEqual(_processes_naming(folder), [])


def _processes_naming(text: str) -> list[bytes]:
    """Command lines that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes())
        except OSError:
            pass
    return [line for line in found if text.encode() in line]
