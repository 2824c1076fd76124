"""Programs that people already have, unmodified, against a running gateway."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from tests.integration import IntegrationTestCase

FOLDER = Path(__file__).parent
NODE = shutil.which("node")


def missing_for_node() -> str | None:
    """Why tests with Node's clients cannot run; None when they can."""
    if NODE is None:
        return "node is not installed"
    if not (FOLDER / "node_modules").is_dir():
        return "`npm ci` has not been run in tests/clients; `make test` does it where npm is installed"
    return None


def sandbox_request(event_id: str, text: str, model: str = "echo", stream: bool = False) -> dict[str, Any]:
    """A `universal.create` for the built-in provider that needs no key."""
    query = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    request = {"eventId": event_id, "provider": "sandbox", "endpoint": "chat/completions", "headers": {}}
    return {"type": "universal.create", "request": {**request, "query": query}}


def streamed_text(messages: list[dict[str, Any]]) -> str:
    """The text that the `universal.stream` messages of one answer add up to."""
    choices = (message["response"]["choices"] for message in messages if message["type"] == "universal.stream")
    return "".join(choice["delta"].get("content") or "" for pieces in choices for choice in pieces)


async def run_node(
    script: Path, *arguments: str, environ: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """
    Run a script under Node.

    Args:
        script: Path.
        arguments: For it.
        environ: More of its environment.
    Returns:
        What it prints, one JSON object a line.
    """
    output, errors, code = await getProcessOutputAndValue(
        NODE or "node", [str(script), *arguments], {**os.environ, **environ}, str(FOLDER)
    )
    if code != 0 or errors:
        raise AssertionError(f"{script.name} ended with {code}: {errors.decode('utf-8', 'replace')}")
    return [json.loads(line) for line in output.splitlines()]


class ClientTestCase(IntegrationTestCase):
    """A test with a gateway in a process of its own, as a user starts it."""

    async def setUp(self) -> None:
        await super().setUp()
        self.gateway = await self.start()

    async def node(self, script: Path, *arguments: str) -> list[dict[str, Any]]:
        """See `run_node`."""
        return await run_node(script, *arguments)
