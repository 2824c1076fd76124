"""LiteLLM's proxy, in Python. Its logging is off: no database is configured."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.parent import program
from benchmarks.peers.peer import HERE, HOME, clean_environ, environment, free_port, until_answers
from benchmarks.target import HttpFront, Target

_REQUIREMENTS = HERE / "litellm.txt"
_VERSION = re.search(r"^litellm==(\S+)$", _REQUIREMENTS.read_text(), re.MULTILINE)
_CONFIG = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: http://127.0.0.1:{stub}/v1
      api_key: sk-fake
"""


class LiteLLM:
    """See `Peer`."""

    name = f"LiteLLM {_VERSION[1] if _VERSION else ''}"

    async def install(self) -> None:
        """See `Peer`."""
        await environment("litellm", _REQUIREMENTS)

    @asynccontextmanager
    async def run(self, folder: Path, stub_port: int) -> AsyncIterator[Target]:
        """See `Peer`."""
        port = free_port()
        config, log = folder / "litellm.yaml", folder / "litellm.log"
        config.write_text(_CONFIG.format(stub=stub_port))
        # Its price list comes with it; fetching one, and telling its makers, is none of what is measured.
        environ = {**clean_environ(), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        # Without a key of its own it starts only when told so; a check of one would cost it some microseconds more.
        environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        words = [str(HOME / "litellm" / "bin" / "litellm"), "--config", str(config), "--telemetry", "False"]
        words += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        async with program(*words, log=log, environ=environ, cwd=folder) as process:
            await until_answers(process, f"http://127.0.0.1:{port}/health/liveliness", log)
            yield HttpFront("127.0.0.1", port, "/v1/chat/completions").target(self.name, process.pid)
