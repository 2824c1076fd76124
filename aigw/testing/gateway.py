"""A real gateway in a process of its own, for tests that kill, drain and restart it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

START_S = 60.0
_READY = re.compile(r"is ready")
_APPLICATIONS = re.compile(r"applications\s+(wss?://\S+/v1/local/default)")
_OPERATORS = re.compile(r"operators\s+(\S+)")
_TOKEN = re.compile(r"token\s+(aigw_\S+)")


class GatewayDied(Exception):
    """The process ended before it was ready; the text is what it wrote."""


class GatewayProcess(ProcessProtocol):
    """
    One process of `twistd aigateway`.

    Attributes:
        output: All that it has written, to either stream.
        code: Its exit code once it has ended; minus the number of the signal that killed it.
        token: That the first start printed; empty on a later one.
        urls: Of the gateway `default`, for WebSockets: one for each endpoint, those of `options` last.
        control_url: Of the control port.
    """

    def __init__(self) -> None:
        self.output = ""
        self.code: int | None = None
        self.token = ""
        self.urls: list[str] = []
        self.control_url = ""
        self._overdue: IDelayedCall | None = None
        self._is_ready = False
        self._waiting: list[Deferred[GatewayProcess]] = []
        self._ended: list[Deferred[int]] = []

    @classmethod
    def start(
        cls,
        reactor: Any,
        data_dir: Path,
        options: Sequence[str] = (),
        config: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> Deferred[GatewayProcess]:
        """
        Start a gateway on free ports of the loopback interface.

        Args:
            reactor: Runs the test.
            data_dir: The gateway's folder; `config` is written beside it.
            options: More of the command line.
            config: Content of its settings file.
            environ: More of its environment.
        Returns:
            Fires when it is ready, or fails with `GatewayDied`.
        """
        return cls.spawn(reactor, data_dir, options, config, environ).ready()

    @classmethod
    def spawn(
        cls,
        reactor: Any,
        data_dir: Path,
        options: Sequence[str] = (),
        config: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> GatewayProcess:
        """
        Like `start`, for a test that does not wait until the gateway is ready.

        Returns:
            The process; it is killed when it is not ready in time.
        """
        self = cls()
        arguments = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        arguments += ["--nodaemon", "--pidfile=", "aigateway", "--data-dir", str(data_dir)]
        arguments += ["--listen", "tcp:0:interface=127.0.0.1", "--control", "tcp:0:interface=127.0.0.1"]
        if config:
            file = data_dir.parent / f"{data_dir.name}.toml"
            file.write_text(config)
            arguments += ["--config", str(file)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIGW_")}
        environment.update(environ or {})
        environment["PYTHONUNBUFFERED"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_root(), environment.get("PYTHONPATH", "")]))
        reactor.spawnProcess(self, sys.executable, [*arguments, *options], env=environment, path=str(data_dir.parent))
        self._overdue = reactor.callLater(START_S, self.signal, SIGKILL)
        return self

    def ready(self) -> Deferred[GatewayProcess]:
        """Fires with this process when it is ready, or fails with `GatewayDied`."""
        waiting: Deferred[GatewayProcess] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    @property
    def url(self) -> str:
        """The first of `urls`."""
        return self.urls[0]

    @property
    def pid(self) -> int:
        """Of the process; 0 when it has ended."""
        return self.transport.pid or 0 if self.transport is not None else 0

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.code is None and self.pid:
            os.kill(self.pid, number)

    def ended(self) -> Deferred[int]:
        """Fires with the exit code when the process has ended."""
        done: Deferred[int] = Deferred()
        if self.code is not None:
            done.callback(self.code)
        else:
            self._ended.append(done)
        return done

    def stop(self, number: int = SIGTERM) -> Deferred[int]:
        """Send a signal and wait for the end; fires with the exit code."""
        self.signal(number)
        return self.ended()

    # ProcessProtocol ------------------------------------------------------------------------------------------------

    def outReceived(self, data: bytes) -> None:
        """Read along for the lines that a start prints."""
        self.output += data.decode("utf-8", "replace")
        if not self._is_ready and _READY.search(self.output) and self.output.endswith("\n"):
            self._read_start()

    def errReceived(self, data: bytes) -> None:
        """Keep what it complains about."""
        self.output += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        """The process is gone."""
        value: Any = reason.value
        self.code = 0 if isinstance(value, ProcessDone) else -value.signal if value.signal else value.exitCode
        self._tell()
        waiting, self._ended = self._ended, []
        for done in waiting:
            done.callback(self.code or 0)

    def _read_start(self) -> None:
        self.urls = _APPLICATIONS.findall(self.output)
        operators = _OPERATORS.search(self.output)
        if not self.urls or operators is None:
            return
        self.control_url = operators[1]
        token = _TOKEN.search(self.output)
        self.token = token[1] if token else ""
        self._is_ready = True
        self._tell()

    def _tell(self) -> None:
        """Tell those who wait for the start how it came out, once that is known."""
        if not self._is_ready and self.code is None:
            return
        if self._overdue is not None and self._overdue.active():
            self._overdue.cancel()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if self._is_ready:
                each.callback(self)
            else:
                each.errback(GatewayDied(self.output))


def _root() -> str:
    """The folder that holds the package and its twistd plugin."""
    return str(Path(__file__).resolve().parents[2])
