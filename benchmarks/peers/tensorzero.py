"""
TensorZero, in Rust. Its package on PyPI has no program, but it holds the whole gateway and can serve it over HTTP.

Its logging is off (`observability.enabled = false`); on, it would want a ClickHouse.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.parent import program
from benchmarks.peers.peer import HERE, HOME, LOOK_S, START_S, Unavailable, clean_environ, environment
from benchmarks.target import HttpFront, Target

VERSION = "2026.6.0"
_CONFIG = """
[gateway]
observability.enabled = false

[models.bench]
routing = ["stub"]

[models.bench.providers.stub]
type = "openai"
model_name = "gpt-4o-mini"
api_base = "http://127.0.0.1:{stub}/v1/"
api_key_location = "none"
"""
# Python only waits in it; the gateway's threads are Rust's own.
_SERVE = """
import sys, threading
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print("serves", gateway.base_url, flush=True)
threading.Event().wait()
"""
_SERVES = re.compile(r"serves (http://\S+)")


class TensorZero:
    """See `Peer`."""

    name = f"TensorZero {VERSION}"

    async def install(self) -> None:
        """See `Peer`."""
        await environment("tensorzero", HERE / "tensorzero.txt")

    @asynccontextmanager
    async def run(self, folder: Path, stub_port: int) -> AsyncIterator[Target]:
        """See `Peer`."""
        config, log = folder / "tensorzero.toml", folder / "tensorzero.log"
        config.write_text(_CONFIG.format(stub=stub_port))
        python = str(HOME / "tensorzero" / "bin" / "python")
        words = (python, "-c", _SERVE, str(config))
        async with program(*words, log=log, environ=clean_environ(), cwd=folder) as process:
            address = urlsplit(await _address(process, log))
            front = HttpFront(
                *(address.hostname or "", address.port or 0, f"{address.path}/chat/completions"),
                model="tensorzero::model_name::bench",
            )
            yield front.target(self.name, process.pid)


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    deadline = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < deadline and process.returncode is None:
        if serves := _SERVES.search(log.read_text(errors="replace")):
            return serves[1]
        await asyncio.sleep(LOOK_S)
    raise Unavailable(f"it did not start: {log.read_text(errors='replace')[-300:]}")
