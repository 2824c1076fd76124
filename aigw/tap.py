"""What `twistd aigateway` runs: options, signals and exit codes around the assembled gateway."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, NoReturn, cast

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from aigw.assembly import Node, Parent
from aigw.errors import AigwError, ConfigurationError
from aigw.settings import Settings, load

# A terminal that is closed sends SIGHUP; what runs is finished then, too.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Options(usage.Options):
    """The command line; every option is a key of the settings file and an `AIGW_` variable, too."""

    synopsis = "[options]"
    longdesc = "A self-hosted AI gateway. See `aigw --help` for what talks to a running one."
    optParameters = [
        ["config", "c", None, "Settings file (TOML)."],
        ["data-dir", "d", None, "Folder for everything that the gateway keeps. [default: aigw-data]"],
        ["database", None, None, "DSN of a PostgreSQL 14 or later; absent: an embedded one."],
        ["workers", "w", None, "Processes that accept connections, or `auto`: one for each core. [default: 1]"],
        ["drain-s", None, None, "Seconds for running requests to finish after SIGTERM. [default: 30]"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["control"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint of the data port, such as `tcp:8787:interface=127.0.0.1` or `ssl:...`; repeatable."""
        self["listen"].append(endpoint)

    def opt_control(self, endpoint: str) -> None:
        """Twisted endpoint of the control port; repeatable."""
        self["control"].append(endpoint)

    def postOptions(self) -> None:
        """Read the settings; every mistake is told at once."""
        try:
            self.settings = load(self, os.environ)
        except ConfigurationError as error:
            sys.stderr.write("".join(f"aigateway: {problem}\n" for problem in error.problems))
            raise SystemExit(1) from None


class GatewayService(Service):
    """
    Boots the gateway when the reactor runs and drains it on a signal.

    Args:
        settings: Of the process.
    """

    _log = Logger()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = False
        self._boot: Deferred[None] | None = None

    def startService(self) -> None:
        """twistd has daemonised by now, if it was to."""
        super().startService()
        from twisted.internet import reactor

        self._reactor = cast(Any, reactor)
        # Twisted tells timers the wall clock; one that is set back would make every deadline wait for it.
        self._reactor.seconds = time.monotonic
        kind = Node if self._settings.processes() == 1 else Parent
        self._node = kind(reactor, self._settings, say, self._failed)
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        # twistd would exit with the signal's number, and ignore a second one.
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        self._boot = Deferred.fromCoroutine(self._node.boot())
        self._boot.addErrback(self._failed)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop)

    def _stop(self) -> None:
        if self._stopping:
            self._node.flush_now()
            _exit(1)
        self._stopping = True
        self._drain().addCallback(lambda _: self._reactor.stop())

    def _drain(self) -> Deferred[None]:
        """Stop all that has started, and start nothing more."""
        if self._boot is not None:
            self._boot.cancel()
        return Deferred.fromCoroutine(self._node.drain()).addErrback(self._undrained)

    def _undrained(self, failure: Failure) -> None:
        self._log.failure("the gateway could not stop in order", failure=failure)

    def _failed(self, failure: Failure) -> None:
        """The gateway cannot run: say why in a sentence, leave nothing running, exit 1."""
        if self._stopping:
            return
        if failure.check(AigwError, OSError, CannotListenError):
            say(f"aigateway: {failure.getErrorMessage()}\n", 2)
        else:
            self._log.failure("the gateway could not start", failure=failure)
        self._stopping = True
        self._drain().addCallback(lambda _: _exit(1))


def say(text: str, descriptor: int = 1) -> None:
    """Write to the terminal. twistd has turned `sys.stdout` into log lines, and what is said here may be a secret."""
    try:
        os.write(descriptor, text.encode())
    except OSError:
        # Nobody listens, which must not stop a server.
        pass


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def makeService(options: Mapping[str, Any]) -> IService:
    """The service for twistd."""
    settings: Settings = options.settings  # type: ignore[attr-defined]  # set by Options.postOptions
    service: IService = GatewayService(settings)
    return service
