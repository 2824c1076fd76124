"""What a peer has to be, and how one is installed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import urllib.error
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from benchmarks.parent import ROOT
from benchmarks.target import Target

HOME = ROOT / "build" / "bench"
HERE = Path(__file__).parent
START_S = 90.0
LOOK_S = 0.1
_WORDS = 300


class Unavailable(Exception):
    """A peer cannot be measured here; the text says why, and stands in the table."""


class Peer(Protocol):
    """
    Another gateway.

    Attributes:
        name: In the table, with its version.
    """

    name: str

    async def install(self) -> None:
        """
        Make sure that it is there.

        Raises:
            Unavailable: It cannot be installed.
        """

    def run(self, folder: Path, stub_port: int) -> AbstractAsyncContextManager[Target]:
        """
        Run it before the stub until the block is left.

        Args:
            folder: For its settings and its output.
            stub_port: Of the provider.
        """


async def command(*words: str, cwd: Path = ROOT) -> str:
    """
    Run an installer.

    Returns:
        What it has written.
    Raises:
        Unavailable: It failed; its last words.
    """
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=cwd)
    except FileNotFoundError:
        raise Unavailable(f"{words[0]} is not installed") from None
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        lines = [line for line in output.splitlines() if "error" in line.lower()] or output.splitlines()[-1:]
        raise Unavailable(f"`{' '.join(words[-4:])}` failed: {lines[-1].strip()[-_WORDS:]}" if lines else "no reason")
    return output


async def environment(name: str, requirements: Path) -> Path:
    """
    A virtual environment with exactly what a file lists, made again when the file has changed.

    Returns:
        Its folder of programs.
    Raises:
        Unavailable: The registry does not have it all.
    """
    folder = HOME / name
    done = folder / "installed.txt"
    wanted = requirements.read_text()
    if not done.exists() or done.read_text() != wanted:
        await command(sys.executable, "-m", "venv", "--clear", str(folder))
        # The file lists all there is to install; resolving anew would give other versions every month.
        install = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "-r")
        await command(str(folder / "bin" / "python"), *install, str(requirements))
        done.write_text(wanted)
    return folder / "bin"


def free_port() -> int:
    """A port that nobody has; for programs that cannot say which one they chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ() -> dict[str, str]:
    """The environment without anything that a peer would read as its own setting."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
    return {key: os.environ[key] for key in kept if key in os.environ}


async def until_answers(process: Process, url: str, log: Path) -> None:
    """
    Wait until something answers at an address, whatever it says.

    Raises:
        Unavailable: It never does.
    """
    deadline = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < deadline and process.returncode is None:
        if await asyncio.to_thread(_answers, url):
            return
        await asyncio.sleep(LOOK_S)
    words = log.read_text(errors="replace").strip()[-_WORDS:]
    raise Unavailable(f"it did not start: {words}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
