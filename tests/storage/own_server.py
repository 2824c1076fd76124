"""A PostgreSQL of a test's own, to be killed and frozen."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from aigw.storage.embedded import EmbeddedPostgres
from aigw.storage.postmaster import processes_of
from aigw.storage.settings import EmbeddedSettings
from aigw.testing.elsewhere import elsewhere


def settings(**changes: Any) -> EmbeddedSettings:
    """Settings that do not wait for a disk."""
    bindir = os.environ.get("AIGW_TEST_PG_BINDIR", "")
    return EmbeddedSettings(**{"bindir": bindir, "sync": False, "stop_s": 2.0, "elsewhere": elsewhere()} | changes)


class OwnServerTestCase(TestCase):
    """Servers whose processes the test may signal; all are gone when it is over."""

    timeout = 60

    def setUp(self) -> None:
        """A folder with a short path that every user can pass through."""
        self.data_dir = Path(tempfile.mkdtemp(prefix="aigw-own-"))
        self.data_dir.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.data_dir, ignore_errors=True)

    @property
    def cluster(self) -> Path:
        """The server's data directory."""
        return self.data_dir / "postgres" / "data"

    def server(self, **changes: Any) -> EmbeddedPostgres:
        """A server that is not yet started."""
        server = EmbeddedPostgres(reactor, self.data_dir, settings(**changes))

        def end() -> Deferred[None]:
            self.send(signal.SIGCONT)
            return Deferred.fromCoroutine(server.stop())

        self.addCleanup(end)
        return server

    def send(self, number: signal.Signals) -> None:
        """Signal every process of the server."""
        for pid in processes_of(self.cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


async def until(condition: Any) -> None:
    """Turn the reactor until something is true; the test's own timeout is the bound."""
    while not condition():
        await deferLater(reactor, 0.005)
