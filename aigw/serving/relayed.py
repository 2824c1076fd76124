"""What the two legs of a relayed WebSocket share, one to a client and one to a provider."""

from __future__ import annotations

import math
from typing import Any, cast

from autobahn.websocket.protocol import WebSocketProtocol

from aigw.serving.wheel import Timer

_TEXT_FRAME, _BINARY_FRAME = 1, 2
_BAD_GATEWAY, _TRY_AGAIN_LATER = 1014, 1013


class RelayedSocket(WebSocketProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    Mixed in before one of Autobahn's protocols. Its `factory` gives `clock`, `timers` and `limits`.

    The two directions are held up independently: a client that reads slowly is still read from, since some send all
    they have before they read. So a ping is answered only while the peer reads, or pongs would pile up.

    Attributes:
        close_frame: Whether the peer has sent one.
        close_code: In it, None when it held none.
        close_reason: In it.
    """

    factory: Any
    transport: Any

    # Who closes gets its own code back, as it would from the other end.
    echoCloseCodeReason = True

    close_frame = False
    close_code: int | None = None
    close_reason = ""
    _held = False
    _stuck = False
    _free_since = -math.inf
    _stall: Timer | None = None
    _ping: bytes | None = None

    def send(self, payload: bytes, binary: bool) -> None:
        """Send a message; goes nowhere unless the socket is open."""
        if self.state == self.STATE_OPEN:
            self.sendFrame(_BINARY_FRAME if binary else _TEXT_FRAME, payload)

    # Flow -----------------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Read nothing more: the other leg cannot take it."""
        if not self._held:
            self._held = True
            self.transport.pauseProducing()

    def release(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self._free_since = self.factory.clock.seconds()
            if self.state != self.STATE_CLOSED:
                self.transport.resumeProducing()

    def stuck(self) -> None:
        """The peer does not read; it has `stalled_s`."""
        self._stuck = True
        self._stall = self.factory.timers.call_later(self.factory.limits.stalled_s, self._stalled)

    def unstuck(self) -> None:
        """The peer has read all that waited."""
        self._stuck = False
        self._free_since = self.factory.clock.seconds()
        self.forget_stall()
        ping, self._ping = self._ping, None
        if ping is not None:
            self.sendPong(ping)

    def forget_stall(self) -> None:
        """Stop the clock of a peer that does not read."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _stalled(self) -> None:
        self._stall = None
        self.silent()

    def silent(self) -> None:
        """The peer is as good as dead: drop it."""
        self.wasNotCleanReason = "the peer neither reads nor answers"
        self.dropConnection(abort=True)

    # Pings ----------------------------------------------------------------------------------------------------------

    def onPing(self, payload: bytes) -> None:
        """Answer, or keep the latest until the peer reads again (RFC 6455, 5.5.3, asks for no more)."""
        if self._stuck:
            self._ping = payload
        else:
            self.sendPong(payload)

    def onAutoPingTimeout(self) -> None:
        """No pong in time. While we hold the peer up, or it reads slowly, that is no sign of death."""
        timeout_s = self.factory.limits.ping_timeout_s
        if self._held or self._stuck or self.factory.clock.seconds() - self._free_since < timeout_s:
            self.autoPingTimeoutCall = self.factory.timers.call_later(timeout_s, self.onAutoPingTimeout)
        else:
            self.autoPingTimeoutCall = None
            self.silent()

    # Closing --------------------------------------------------------------------------------------------------------

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """Keep what the peer said, for the other leg."""
        if not self.close_frame:
            self.close_frame = True
            self.close_code = code
            self.close_reason = (reasonRaw or b"").decode("utf-8", "replace")
        # Autobahn does not know the newest code and would take it for a breach of the protocol.
        known = _TRY_AGAIN_LATER if code == _BAD_GATEWAY else code
        return cast("bool | None", super().onCloseFrame(known, reasonRaw))

    def close_with(self, code: int | None, reason: str) -> None:
        """
        Start the closing handshake, once.

        Args:
            code: One that may stand in a close frame; None for a frame without a code.
            reason: Cut to what a close frame holds.
        """
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, None if code is None else clipped(reason))


def clipped(reason: str) -> bytes:
    """The beginning of a text, as much as a close frame holds."""
    return reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode("utf-8")


def sendable_code(code: int | None) -> int | None:
    """A code that may be sent on, for one that came in; a forbidden one becomes a breach of the protocol (1002)."""
    if code is None or 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006)):
        return code
    return 1002
