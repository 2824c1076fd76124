"""Whose processes are found, and how they end. A copy of a shell named postgres plays the server."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.storage.postmaster import end_processes, is_ready, processes_of
from tests.storage.own_server import until

DEAF = "trap '' INT QUIT; read -r started; echo deaf; while :; do read -r -t 60 _ <> <(:); done"


class ReadyTests(SynchronousTestCase):
    """When a server counts as ready."""

    def test_only_its_own_word_counts(self) -> None:
        """It is ready when its pid file says so, under its own number; anything else in that file is not yet."""
        cluster = Path(self.mktemp())
        cluster.mkdir()
        self.assertFalse(is_ready(cluster, 7))
        for text, ready in (
            ("7\n", False),
            ("7\n/x\n1\n5432\n/x\n\n1 1\nstarting\n", False),
            ("7\n/x\n1\n5432\n/x\n\n1 1\nready   \n", True),
            ("8\n/x\n1\n5432\n/x\n\n1 1\nready\n", False),
        ):
            (cluster / "postmaster.pid").write_text(text)
            self.assertEqual(is_ready(cluster, 7), ready, text)


class ProcessTests(TestCase):
    """What is found, and ended."""

    timeout = 20

    def setUp(self) -> None:
        """A folder to work in."""
        self.cluster = Path(self.mktemp()).resolve()
        self.cluster.mkdir()

    def run_shell(self, name: str, cwd: Path, script: str = "read -r _") -> subprocess.Popen[bytes]:
        """A shell that waits, under a program name of our choice."""
        program = self.cluster / name
        if not program.exists():
            shutil.copy(shutil.which("bash") or "/bin/bash", program)
        process = subprocess.Popen(
            [program, "-c", script], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    async def test_only_postgres_in_this_folder(self) -> None:
        """Another program in the folder, and a PostgreSQL in another folder, are somebody else's."""
        self.run_shell("other", self.cluster)
        self.run_shell("postgres", self.cluster.parent)
        ours = self.run_shell("postgres", self.cluster)
        await until(lambda: processes_of(self.cluster) == [ours.pid])

    async def test_the_dead_are_gone(self) -> None:
        """A process that has ended, but whose parent has not yet asked how, counts as gone."""
        ours = self.run_shell("postgres", self.cluster)
        await until(lambda: processes_of(self.cluster) == [ours.pid])
        ours.kill()
        await until(lambda: processes_of(self.cluster) == [])

    async def test_a_deaf_process(self) -> None:
        """What does not heed a polite request is ended in the end, and so is what was stopped."""
        deaf = self.run_shell("postgres", self.cluster, DEAF)
        stopped = self.run_shell("postgres", self.cluster)
        await until(lambda: len(processes_of(self.cluster)) == 2)
        self.hear(deaf)
        stopped.send_signal(signal.SIGSTOP)
        await end_processes(reactor, self.cluster, grace_s=0.1)
        self.assertEqual(processes_of(self.cluster), [])

    def hear(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a deaf process has become so."""
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"deaf\n")

    async def test_nothing_to_end(self) -> None:
        """Ending what does not run takes no time."""
        await end_processes(reactor, self.cluster, grace_s=60.0)
