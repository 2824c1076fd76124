"""The Redis of tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from aigw.testing.redis import RedisServer
from tests.storage.own_server import until

# Says where its server's folder is and which process it has, and then does nothing.
CHILD = """
import sys
from aigw.testing.redis import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    """Whether a process exists and is no mere entry of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class RedisServerTests(TestCase):
    """What is left when tests are over."""

    timeout = 60

    async def test_killed_tests_leave_nothing(self) -> None:
        """When the tests' process is killed, its server and the server's folder are gone as well."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)}
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        pid, folder = child.stdout.readline().decode().split()
        self.assertTrue(is_running(int(pid)))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        await until(lambda: not is_running(int(pid)) and not Path(folder).exists())

    async def test_stop(self) -> None:
        """A server that was stopped is gone, even when it was frozen, and may be started again."""
        server = RedisServer()
        for _ in range(2):
            server.start()
            server.send(signal.SIGSTOP)
            server.stop()
            self.assertFalse(is_running(server.pid))
        server.stop()
        self.assertFalse(Path(server.folder).exists())
