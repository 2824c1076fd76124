"""`aigw chat` against a gateway in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.integration import IntegrationTestCase


class Command(ProcessProtocol):
    """A command with something on its standard input."""

    def __init__(self, typed: str) -> None:
        self.out = self.err = b""
        self.done: Deferred[tuple[str, str, int]] = Deferred()
        self._typed = typed

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._typed.encode())
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        code = 0 if isinstance(value, ProcessDone) else value.exitCode
        self.done.callback((self.out.decode(), self.err.decode(), code))


class ChatTests(IntegrationTestCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.gateway = await self.start()

    def chat(self, *arguments: str, typed: str = "") -> Deferred[tuple[str, str, int]]:
        """Run the command; fires with what it wrote and its exit code."""
        command = Command(typed)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AIGW_")}
        path = os.pathsep.join(filter(None, sys.path))
        whole = [sys.executable, "-m", "aigw.cli", "chat", "--data-dir", str(self.data_dir), *arguments]
        self.reactor.spawnProcess(command, sys.executable, whole, env={**environ, "PYTHONPATH": path})
        return command.done

    async def test_a_conversation(self) -> None:
        """With nothing but the data folder, each line gets its answer; the token made for it ends with it."""
        self.assertEqual(await self.chat(typed="one two\n\nthree"), ("one two\nthree\n", "", 0))
        tokens = json.loads((self.data_dir / "tokens.json").read_text())["tokens"]
        ended = {entry["token"]["name"]: entry["token"]["revoked_ms"] is not None for entry in tokens}
        self.assertEqual(ended, {"first": False, "aigw chat": True})

    async def test_the_printed_line(self) -> None:
        """The line that the first start prints gets an answer from anywhere, without the data folder."""
        arguments = ["--url", self.gateway.url, "--token", self.gateway.token, "--data-dir", "nowhere"]
        self.assertEqual(await self.chat(*arguments, "so it goes"), ("so it goes\n", "", 0))

    async def test_as_json(self) -> None:
        """A program gets each piece as the provider worded it, and then the metadata with the log's id."""
        out, _, code = await self.chat("--json", "a b")
        *pieces, last = [json.loads(line) for line in out.splitlines()]
        self.assertEqual("".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces), "a b")
        self.assertEqual((last["metadata"]["complete"], code), (True, 0))

    async def test_failures(self) -> None:
        """A provider's error, a wrong token and an address where nobody listens are told with exit code 1."""
        for arguments, told in (
            (["--model", "error-500", "x"], "500"),
            (["--token", "aigw_wrong", "x"], "Unauthorized"),
            (["--url", "ws://127.0.0.1:1/v1/local/default", "--token", "x", "x"], "ws://127.0.0.1:1/v1/local/default"),
        ):
            out, err, code = await self.chat(*arguments)
            self.assertEqual((out, code), ("", 1))
            self.assertIn(told, err)
