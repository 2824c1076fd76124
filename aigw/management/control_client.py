"""The command's end of the control socket. Blocks, and imports little: a command must start quickly."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from aigw.errors import AigwError
from aigw.management.socket_path import SOCKET_NAME, SocketPath

# More than any call takes, and it bounds what a gateway that hangs can do to a script.
_TIMEOUT_S = 60.0


class NotRunning(AigwError):
    """No gateway answers on the control socket."""


class CallRefused(AigwError):
    """
    The gateway did not carry out a call.

    Args:
        code: Word for programs.
        message: Sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlClient:
    """
    Calls the internal API of the gateway that runs on a data folder.

    Args:
        data_dir: The gateway's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def call(self, method: str, path: str, body: object = None, timeout_s: float | None = _TIMEOUT_S) -> Any:
        """
        Make one call.

        Args:
            method: HTTP method.
            path: With its query.
            body: Something that JSON can hold; None for no body.
            timeout_s: For what takes longer than any other call; None waits for ever.
        Returns:
            The answer's JSON.
        Raises:
            NotRunning: See there.
            CallRefused: See there.
        """
        payload = None if body is None else json.dumps(body).encode()
        try:
            with SocketPath(self._data_dir) as place:
                connection = _Connection(place.path, timeout_s)
                try:
                    # A body that is refused by its length is not read to its end, but it is answered.
                    with contextlib.suppress(BrokenPipeError):
                        connection.request(method, path, payload, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    answer = json.loads(response.read())
                finally:
                    connection.close()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NotRunning(_how_to_start(self._data_dir)) from error
        except PermissionError as error:
            socket_file = self._data_dir / SOCKET_NAME
            raise CallRefused("permission", f"{socket_file} belongs to another user; run this as that user") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotRunning(f"The gateway on {self._data_dir} gave no answer ({error})") from error
        if response.status >= 400:
            raise CallRefused(*_reason(answer))
        return answer


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("aigw", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _how_to_start(data_dir: Path) -> str:
    return (
        f"No gateway is running on the data folder {data_dir}.\n"
        f"Start it:         twistd --nodaemon aigateway --data-dir {data_dir}\n"
        "Or name another:  --data-dir DIR, --config FILE, or the variable AIGW_DATA_DIR"
    )


def _reason(answer: Any) -> tuple[str, str]:
    """Code and message of a refusal, by the internal API or by the HTTP server beneath it."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        return str(error.get("code", "refused")), str(error.get("message", "refused"))
    return "refused", str(answer.get("message", "refused") if isinstance(answer, dict) else answer)
