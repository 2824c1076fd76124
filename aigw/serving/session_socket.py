"""A client's leg of a realtime session."""

from __future__ import annotations

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from aigw.serving.relayed import RelayedSocket
from aigw.serving.websocket import GatewaySocket


class SessionSocket(RelayedSocket, GatewaySocket):
    """Passes messages on instead of queueing them; its `application` also has `headers` for the handshake's answer."""

    def onConnect(self, request: object) -> tuple[str | None, dict[str, str]]:
        """Select the subprotocol, and tell the log's id."""
        return self.application.subprotocol, self.application.headers

    def _slow(self) -> None:
        # Reading goes on: what the client sends is held up by the provider alone.
        self.stuck()
        self.application.pause()

    def _caught_up(self) -> None:
        self.unstuck()
        self.application.resume()

    def message_overdue(self) -> None:
        """A message was not ended in time; while we do not read it, that is our doing."""
        if self._held:
            self.factory.mark_unfinished(self, True, True)
        else:
            super().message_overdue()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.forget_stall()
        super().connectionLost(reason)
