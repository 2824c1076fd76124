"""How a client's hopes are broken."""

from __future__ import annotations

from typing import Any

from aigw.errors import AigwError


class ClientFailure(AigwError):
    """There is no answer, or no whole one."""


class UpgradeRefused(ClientFailure):
    """
    The gateway did not open a WebSocket.

    Args:
        status: HTTP status; 0 when what answered is no gateway.
        message: Why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConnectionGone(ClientFailure):
    """
    The connection was closed before the answer was over.

    Args:
        code: The WebSocket's close code; 1001 means that the gateway stops, 1006 that there was no good-bye.
        message: Why.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerNotRead(ClientFailure):
    """More of an answer is waiting than may wait; go through it faster, or give `create` a `piece`."""


class AnswerFailed(ClientFailure):
    """
    The provider or the gateway answered with an error, or the answer broke off.

    Args:
        status: HTTP status of an answer that is an error; 0 for a stream that broke off.
        message: The error's own sentence.
        response: The error's body.
    """

    def __init__(self, status: int, message: str, response: Any) -> None:
        super().__init__(message)
        self.status = status
        self.response = response
