"""A real Redis for tests: the machine's `redis-server`, on a socket in a folder of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from unittest import SkipTest

# The shell outlives whoever started it by no more than a kill: its standard input is closed when the tests are over,
# whichever way they end. It also removes the folder.
SHELL = """
redis-server "$@" >&2 &
server=$!
echo $server
cat >/dev/null
kill -9 $server
wait $server 2>/dev/null
rm -rf "$FOLDER"
"""

MISSING = "redis-server is not installed here; on Debian and Ubuntu: apt install redis-server"


class RedisServer:
    """
    A server's process, which tests may kill, freeze and start again.

    Args:
        options: For the command line, beside those that make it small and private, such as `("--requirepass", "fake")`.

    Attributes:
        options: As given; may be changed before a start.
        folder: For its socket, and for what a test puts there; gone with it.
        pid: Of the process that was started last.
    Raises:
        SkipTest: The machine has none.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        if shutil.which("redis-server") is None:
            raise SkipTest(MISSING)
        self.folder = tempfile.mkdtemp(prefix="aigw-redis-")
        self.options = options
        self._shell: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def socket(self) -> str:
        """Path of the socket."""
        return os.path.join(self.folder, "redis.sock")

    @property
    def url(self) -> str:
        """For the setting `state.redis`."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start the process; it listens a little later."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        options = ["--unixsocket", self.socket, "--port", "0", "--save", "", "--appendonly", "no"]
        options += ["--dir", self.folder, "--loglevel", "warning", *self.options]
        self._shell = subprocess.Popen(  # noqa: S603 - every word is ours or a test's
            ["/bin/sh", "-c", SHELL, "sh", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "FOLDER": self.folder},
            # Ctrl-C reaches every process of the terminal: the tests end first and close our input.
            start_new_session=True,
        )
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())

    def send(self, number: signal.Signals) -> None:
        """Signal the process."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End the process and wait until it is gone; may be called again."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.communicate()


_servers: list[RedisServer] = []


def redis_url() -> str:
    """
    The URL of a server that all tests of this process share; keys need a prefix of their own.

    Raises:
        SkipTest: The machine has none.
    """
    if not _servers:
        server = RedisServer()
        server.start()
        atexit.register(server.stop)
        _servers.append(server)
    return _servers[0].url
