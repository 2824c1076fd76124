"""The gateway's end of the control socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory

from aigw.errors import AigwError
from aigw.management.socket_path import SocketPath

_BACKLOG = 50


class AlreadyRunning(AigwError):
    """Another gateway answers on this data folder's control socket."""


class ControlSocket:
    """
    Listens on `<data-dir>/control.sock`, which only the gateway's own user may connect to.

    Args:
        reactor: Listens.
        data_dir: The gateway's data folder, with mode 0700.
        factory: The HTTP server of the internal API.
    """

    def __init__(self, reactor: IReactorUNIX, data_dir: Path, factory: Factory[Any]) -> None:
        self._reactor = reactor
        self._data_dir = data_dir
        self._factory = factory
        self._place: SocketPath | None = None
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """
        Listen; what a killed gateway left behind is removed.

        Raises:
            AlreadyRunning: See there.
            OSError, CannotListenError: The folder takes no socket.
        """
        place = SocketPath(self._data_dir)
        try:
            _remove_if_dead(place.path)
            self._port = self._reactor.listenUNIX(str(place.path), self._factory, _BACKLOG, 0o600)
        except BaseException:
            place.close()
            raise
        self._place = place

    async def stop(self) -> None:
        """Stop listening and remove the socket; may be called at any time."""
        port, self._port = self._port, None
        place, self._place = self._place, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        if place is not None:
            place.close()


def _remove_if_dead(path: Path) -> None:
    """
    Remove a socket that nobody listens on.

    Connecting tells; a process id in a file would not, since another process may have it by now.
    """
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A living gateway accepts in the kernel, at once; a full backlog would say EAGAIN, which is alive too.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise AlreadyRunning(f"A gateway is running on {path.parent} already")
