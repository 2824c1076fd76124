"""Programs that end when the one that started them does, and how they are started and spoken to."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
LINE_S = 900.0
# A gateway drains first, and then stops its PostgreSQL.
END_S = 30.0
_PR_SET_PDEATHSIG = 1


async def input_lines() -> asyncio.StreamReader:
    """Standard input, line by line, beside whatever else the loop does."""
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def until_input_ends() -> None:
    """Return when standard input is closed: whoever started us has ended, however that came."""
    reader = await input_lines()
    while await reader.readline():
        pass


class Child:
    """
    A module of this package in a process of its own, which reads and writes lines.

    Args:
        process: Started with pipes.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def line(self, within_s: float = LINE_S) -> bytes:
        """
        Its next line.

        Raises:
            RuntimeError: It has ended; standard error says why.
        """
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        if not line:
            raise RuntimeError(f"process {self.pid} ended before it answered")
        return line

    def tell(self, line: bytes) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")

    async def end(self) -> None:
        """Close its input and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await ended(self._process)


async def ended(process: Process) -> None:
    """Wait until a process that was told to end has done so; kill it when it does not."""
    try:
        await asyncio.wait_for(process.wait(), END_S)
    except TimeoutError:
        print(f"process {process.pid} did not end in {END_S:.0f} s and is killed", file=sys.stderr)
        process.kill()
        await process.wait()


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """Run `python -m module` until the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdin=PIPE, stdout=PIPE, cwd=ROOT, limit=2**20
    )
    running = Child(process)
    try:
        yield running
    finally:
        await running.end()


@asynccontextmanager
async def program(*command: str, log: Path, environ: dict[str, str], cwd: Path) -> AsyncIterator[Process]:
    """Run any program, its output in a file, until the block is left."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=environ,
            preexec_fn=_end_with_parent,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await ended(process)


def _end_with_parent() -> None:
    """Other people's programs do not look at their input: have the kernel tell them."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
