"""What a program and its children have used, out of /proc; PostgreSQL's part told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
POSTGRES = "postgres"


@dataclass(frozen=True)
class Usage:
    """
    One look at a tree of processes.

    Attributes:
        cpu_s: User and system time so far, children that are gone included.
        postgres_s: The same for PostgreSQL's processes; not in `cpu_s`.
        rss_bytes: Resident memory, without PostgreSQL's.
        fds: Open file descriptors, without PostgreSQL's.
        processes: How many there are, without PostgreSQL's.
    """

    cpu_s: float = 0.0
    postgres_s: float = 0.0
    rss_bytes: int = 0
    fds: int = 0
    processes: int = 0


def usage(pid: int) -> Usage:
    """What the process and all below it have used."""
    cpu_s = postgres_s = 0.0
    rss_bytes = fds = processes = 0
    for each, name, used_s in _tree(pid):
        if name == POSTGRES:
            postgres_s += used_s
            continue
        cpu_s += used_s
        processes += 1
        try:
            rss_bytes += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * PAGE_BYTES
            fds += len(os.listdir(f"/proc/{each}/fd"))
        except OSError:
            pass  # It has ended since.
    return Usage(cpu_s, postgres_s, rss_bytes, fds, processes)


def postgres_of(pid: int) -> list[int]:
    """The processes of PostgreSQL below a process."""
    return [each for each, name, _ in _tree(pid) if name == POSTGRES]


def _tree(root: int) -> Iterator[tuple[int, str, float]]:
    """Number, name and CPU seconds of each process."""
    table: dict[int, tuple[int, str, float]] = {}
    for folder in os.listdir("/proc"):
        if not folder.isdigit():
            continue
        try:
            text = Path(f"/proc/{folder}/stat").read_text()
        except OSError:
            continue
        head, _, rest = text.rpartition(")")
        fields = rest.split()
        # utime, stime, and those of children that were waited for: a backend that ends moves from one to the other.
        used = sum(int(field) for field in fields[11:15])
        table[int(folder)] = (int(fields[1]), head.partition("(")[2], used / TICKS)
    wanted = {root}
    while more := {pid for pid, (parent, _, _) in table.items() if parent in wanted} - wanted:
        wanted |= more
    return ((pid, *table[pid][1:]) for pid in wanted if pid in table)
