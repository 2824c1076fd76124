"""What `aigw doctor` looks at where no gateway runs: whether one could."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from aigw.logs.directory import REFUSED, segment_numbers, segment_path, spools_at
from aigw.management.checks import Check, check_master_key, clock_problem


def outside_checks(data_dir: Path, now_ms: int) -> list[Check]:
    """
    The checks that need no settings.

    Args:
        data_dir: The gateway's data folder.
        now_ms: The wall clock, in milliseconds since the epoch.
    """
    wrong = clock_problem(now_ms)
    found = [check_spool(data_dir / "spool"), Check("clock", not wrong, wrong or "set")]
    if data_dir.is_dir():
        found.append(check_master_key(data_dir))
    return found


def check_ports(endpoints: Iterable[str]) -> Check:
    """
    Whether a gateway could listen.

    Args:
        endpoints: As in the settings, in Twisted's words.
    """
    endpoints = list(endpoints)
    taken = [f"{endpoint}: {problem}" for endpoint in endpoints if (problem := _listen_problem(endpoint))]
    return Check("ports", not taken, "; ".join(taken) or f"free: {', '.join(endpoints)}")


def _listen_problem(endpoint: str) -> str:
    failed: list[str] = []
    # Endpoints only hand on to the reactor, so one that tries and lets go tells whether a real one would succeed.
    listening: Any = serverFromString(_Trying(), endpoint).listen(Factory())
    listening.addErrback(lambda failure: failed.append(_reason(failure.value)))
    return failed[0] if failed else ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return str(error)


class _Trying:
    """As much of a reactor as server endpoints use. Nobody can connect to what it binds: it never listens."""

    def listenTCP(self, port: int, factory: object, backlog: int = 50, interface: str = "") -> None:
        """Bind, as a reactor would, and let go."""
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trying.bind((interface, port))

    def listenSSL(self, port: int, factory: object, context: object, backlog: int = 50, interface: str = "") -> None:
        """Certificate and key were read with the endpoint."""
        self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(self, address: str, factory: object, backlog: int = 50, **_: object) -> None:
        """A socket that somebody answers on is in the way, and so is a folder that cannot be written to."""
        path = Path(address)
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
                if trying.connect_ex(address) == 0:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{path.parent} cannot be written to")

    def adoptStreamPort(self, *_: object) -> None:
        """The socket is handed over by systemd, which is not asked."""


def check_spool(root: Path) -> Check:
    """
    What ended processes left for the next one, and whether that can write.

    Args:
        root: Folder of all spools of a data folder.
    """
    if not root.is_dir():
        return Check("spool", True, "none yet; the first start makes it")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return Check("spool", False, f"{root}: this user cannot write to it")
    try:
        spools = spools_at(root)
        waiting = sum(segment_path(spool, n).stat().st_size for spool in spools for n in segment_numbers(spool))
        refused = [spool for spool in spools if segment_numbers(spool / REFUSED)]
    except OSError as error:
        return Check("spool", False, f"{root}: {error.strerror}")
    if refused:
        names = ", ".join(str(spool / REFUSED) for spool in refused)
        return Check("spool", False, f"logs that the database refused are in {names}; the next start tries them again")
    if waiting:
        return Check("spool", True, f"files of {waiting} bytes were left by ended processes; the next start ships them")
    return Check("spool", True, "empty")
