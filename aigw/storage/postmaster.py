"""The processes of an embedded PostgreSQL, seen through /proc: whose are they, and how to end them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from aigw.errors import PostgresNotStarted

# How often to look whether processes are gone. Reading /proc for a few hundred processes takes about 2 ms.
LOOK_S = 0.02


def is_ready(cluster: Path, pid: int) -> bool:
    """Whether a given postmaster says in its own pid file that it takes connections."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def processes_of(cluster: Path) -> list[int]:
    """
    Every living PostgreSQL process of a data directory, the postmaster first when it lives.

    A pid file proves nothing: after a restart of a container its number often belongs to another program. What counts
    is a program named postgres that works in this very folder. Zombies have no folder and are left out.
    """
    here = os.fspath(cluster.resolve())
    found = [pid for pid in _pids() if _link(pid, "cwd") == here and _is_postgres(pid)]
    return sorted(found, key=lambda pid: (_parent(pid) in found, pid))


async def end_processes(reactor: Any, cluster: Path, grace_s: float) -> None:
    """
    End whatever runs on a data directory: fast shutdown, then immediate shutdown, then SIGKILL.

    Stopped (SIGSTOP) processes are woken, since they could not hear the rest.

    Args:
        reactor: Its clock.
        cluster: The data directory.
        grace_s: How long to wait after each of the first two steps.
    Raises:
        PostgresNotStarted: Something survives even SIGKILL (it hangs in the kernel).
    """
    for step in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        living = processes_of(cluster)
        # Without their postmaster the others end by themselves, unless they cannot.
        for pid in living if step == signal.SIGKILL else living[:1]:
            _send(pid, step)
        for pid in living:
            _send(pid, signal.SIGCONT)
        deadline = reactor.seconds() + grace_s
        while processes_of(cluster):
            if reactor.seconds() >= deadline:
                break
            await deferLater(reactor, LOOK_S)
        else:
            return
    raise PostgresNotStarted(f"Processes {processes_of(cluster)} on {cluster} cannot be ended")


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def _is_postgres(pid: int) -> bool:
    # An upgraded program reads "(deleted)" here while the old one runs.
    return os.path.basename(_link(pid, "exe").removesuffix(" (deleted)")) == "postgres"


def _parent(pid: int) -> int:
    try:
        # The program's name stands in parentheses and may hold any byte, also a parenthesis.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
