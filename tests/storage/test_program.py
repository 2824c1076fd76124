"""A child process and its last words."""

from __future__ import annotations

import sys
from typing import cast

from twisted.internet import reactor
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import TestCase

from aigw.storage.program import LAST_LINES, LINE_BYTES, Program


class ProgramTests(TestCase):
    """What is known of a process after it has ended."""

    timeout = 20

    async def run_python(self, code: str, stdin: bytes = b"") -> Program:
        """A Python process, until its end."""
        program = Program("python")
        reactor.spawnProcess(program, sys.executable, [sys.executable, "-c", code])
        program.write(stdin)
        await program.ended()
        return program

    async def test_success_and_failure(self) -> None:
        """Whether it ended well is told apart, also to those who ask afterwards."""
        self.assertTrue((await self.run_python("")).succeeded)
        failed = await self.run_python("raise SystemExit(3)")
        await failed.ended()
        self.assertFalse(failed.succeeded or failed.running)

    async def test_last_words(self) -> None:
        """Only the last lines are kept, each of bounded length."""
        program = await self.run_python("import sys; print('x' * 99999 + '\\n' + 'LOG: 1\\n' * 99, file=sys.stderr)")
        lines = program.last_words.splitlines()
        self.assertEqual(len(lines), LAST_LINES)
        self.assertLessEqual(max(len(line) for line in lines), LINE_BYTES)

    async def test_only_complaints_are_logged(self) -> None:
        """Checkpoints and starts are no warnings in the gateway's log, in whatever form a line comes; trouble is."""
        lines = (
            "LOG:  starting PostgreSQL",
            "2026-01-31 16:26:23.606 UTC [3578] LOG:  checkpoint complete: wrote 911 buffers",
            "2026-01-31 16:26:23.606 UTC [3578] FATAL:  no room",
            "WARNING:  LOG: is not what this is",
            "postgres: cannot load a library",
        )
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.run_python("import sys; sys.stderr.write(sys.stdin.read())", "\n".join((*lines, "")).encode())
        told = [event["line"] for event in events if event.get("log_level") is LogLevel.warn]
        self.assertEqual(told, list(lines[2:]))

    async def test_input(self) -> None:
        """It gets its input, and then the end of it."""
        program = await self.run_python("import sys; sys.stderr.write('LOG: ' + sys.stdin.read())", b"hello\n")
        self.assertEqual(program.last_words, "LOG: hello")

    async def test_waiting_may_be_given_up(self) -> None:
        """One who stops waiting takes nothing from the others."""
        program = Program("python")
        reactor.spawnProcess(program, sys.executable, [sys.executable, "-c", "input()"])
        impatient, patient = program.ended(), program.ended()
        impatient.addErrback(lambda _: None).cancel()
        self.assertTrue(program.running)
        program.signal("KILL")
        await patient
        program.signal("KILL")
        self.assertFalse(program.succeeded)
