"""Where the control socket is: one rule for the gateway that listens and for the command that connects."""

from __future__ import annotations

import os
from pathlib import Path

SOCKET_NAME = "control.sock"

# Linux takes 107 bytes for the path of a socket.
_LONGEST_BYTES = 100


class SocketPath:
    """
    The path of a data folder's control socket, in a form that the kernel takes.

    A path that is too long is named by way of an open descriptor of its folder, so it holds until `close`.

    Args:
        data_dir: The gateway's data folder.
    Raises:
        OSError: The path is long, and the folder cannot be opened.
    """

    def __init__(self, data_dir: Path) -> None:
        path = data_dir.absolute() / SOCKET_NAME
        self._folder: int | None = None
        if len(os.fsencode(path)) > _LONGEST_BYTES:
            self._folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            path = Path(f"/proc/self/fd/{self._folder}", SOCKET_NAME)
        self.path = path

    def close(self) -> None:
        """Let go of the folder; the path means nothing from then on."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def __enter__(self) -> SocketPath:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
