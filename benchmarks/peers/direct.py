"""The stub itself, without a gateway: what latency is compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.target import HttpFront, Target


class Direct:
    """
    No gateway at all.

    Args:
        pid: Of the stub.
    """

    name = "direct"

    def __init__(self, pid: int) -> None:
        self._pid = pid

    async def install(self) -> None:
        """There is nothing to install."""

    @asynccontextmanager
    async def run(self, folder: Path, stub_port: int) -> AsyncIterator[Target]:
        """See `Peer`."""
        yield HttpFront("127.0.0.1", stub_port, "/v1/chat/completions").target(self.name, self._pid)
