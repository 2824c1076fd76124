"""Portkey's gateway, in TypeScript on Node. The open one keeps no logs."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.parent import program
from benchmarks.peers.peer import HERE, HOME, clean_environ, command, free_port, until_answers
from benchmarks.target import HttpFront, Target

_PACKAGE = HERE / "portkey"
_FILES = ("package.json", "package-lock.json")
_VERSION = json.loads((_PACKAGE / "package.json").read_text())["dependencies"]["@portkey-ai/gateway"]


class Portkey:
    """See `Peer`."""

    name = f"Portkey {_VERSION}"

    async def install(self) -> None:
        """See `Peer`."""
        folder = HOME / "portkey"
        done = folder / "installed.json"
        wanted = (_PACKAGE / "package-lock.json").read_text()
        if done.exists() and done.read_text() == wanted:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copy(_PACKAGE / name, folder / name)
        # Its parts need no scripts of their own to be installed.
        await command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder)
        done.write_text(wanted)

    @asynccontextmanager
    async def run(self, folder: Path, stub_port: int) -> AsyncIterator[Target]:
        """See `Peer`."""
        port, log = free_port(), folder / "portkey.log"
        start = HOME / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        # A stub on loopback is no address that it would ask otherwise.
        environ = {**clean_environ(), "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
        words = ("node", str(start), "--headless", f"--port={port}")
        async with program(*words, log=log, environ=environ, cwd=folder) as process:
            await until_answers(process, f"http://127.0.0.1:{port}/", log)
            headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{stub_port}/v1"}
            yield HttpFront("127.0.0.1", port, "/v1/chat/completions", headers).target(self.name, process.pid)
