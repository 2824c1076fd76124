"""A receiver that writes down what it hears."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from aigw.errors import GatewayError
from aigw.interfaces import IUpstreamReceiver
from aigw.values.step import Headers


@implementer(IUpstreamReceiver)
class Recorder:
    """
    Attributes:
        heard: Names of the calls, in order: `resent`, `head`, `data`, `completed`, `failed`.
        body: All data, joined.
        ended: Fires at `completed` or `failed`.
        begun: Fires at `head`.
        react: Called with each name right after it was written down.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 0
        self.headers: Headers = ()
        self.body = b""
        self.error: GatewayError | None = None
        self.begun: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.react: Callable[[str], object] = lambda name: None

    def _hear(self, name: str) -> None:
        self.heard.append(name)
        self.react(name)

    def resent(self) -> None:
        self._hear("resent")

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._hear("head")
        self.begun.callback(None)

    def data(self, chunk: bytes) -> None:
        self.body += chunk
        self._hear("data")

    def completed(self) -> None:
        self._hear("completed")
        self.ended.callback(None)

    def failed(self, error: GatewayError) -> None:
        self.error = error
        self._hear("failed")
        self.ended.callback(None)

    @property
    def ending(self) -> str:
        """How it ended: `completed`, or the error's name."""
        return type(self.error).__name__ if self.error is not None else self.heard[-1]
