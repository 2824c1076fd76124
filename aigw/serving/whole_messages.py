"""Autobahn's messages, whole and in a bounded number of frames; for either side of a WebSocket."""

from __future__ import annotations

from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol

_POLICY = 1008


class WholeMessages(WebSocketProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """Gathers frames. Its `factory.limits` gives `frames_per_message`; lengths are Autobahn's to check."""

    factory: Any
    message_data: list[bytes]
    in_message = False
    _frames = 0

    def onMessageBegin(self, isBinary: bool) -> None:
        """A message begins: count its frames."""
        self._frames = 0
        self.in_message = True
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        """A frame begins; endless empty continuations end here."""
        self._frames += 1
        if self._frames > self.factory.limits.frames_per_message and not self.failedByMe:
            self._fail_connection(_POLICY, "too many frames in one message")
        super().onMessageFrameBegin(length)

    def onMessageEnd(self) -> None:
        """A message is whole. Autobahn would also fire an event of its own for each; nobody listens."""
        self.in_message = False
        parts, self.message_data = self.message_data, []
        # What comes behind our own close frame cannot be answered.
        if self.state == self.STATE_OPEN:
            payload = parts[0] if len(parts) == 1 else b"".join(parts)
            self.onMessage(bytes(payload), self.message_is_binary)
