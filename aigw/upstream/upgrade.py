"""The opening of a WebSocket to a provider: what is asked, and how the answer is read."""

from __future__ import annotations

import base64
import hashlib

import httptools

from aigw.errors import InvalidAnswer
from aigw.upstream.request import request_head
from aigw.values.step import Headers

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade_head(target: bytes, host: bytes, headers: Headers, subprotocols: tuple[str, ...], key: bytes) -> bytes:
    """
    Write the request that asks for a WebSocket.

    Args:
        target, host: As `split_url` and `site` give them.
        headers: The caller's; those of the connection are left out.
        subprotocols: To offer.
        key: Of the handshake, in base64.
    Raises:
        InvalidField: A name or value would break out of its line.
    """
    ours: Headers = ((b"sec-websocket-version", b"13"), (b"sec-websocket-key", key))
    if subprotocols:
        ours += ((b"sec-websocket-protocol", ", ".join(subprotocols).encode("ascii")),)
    head = request_head(b"GET", target, host, (*headers, *ours), 0)
    return head[:-2] + b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"


class UpgradeAnswer:
    """
    Reads the one HTTP answer before the frames. The `on_...` methods are `httptools`' callbacks.

    Args:
        key: That was sent.
        offered: Subprotocols that were offered.
        limit_bytes: Of the answer, head and body each; a longer body is cut.
    Attributes:
        status: HTTP status, 0 until the head is complete.
        fields: Of the head, names in lower case.
        complete: Whether the answer is whole: for 101, its head.
        rest: Behind a 101: the first frames.
        subprotocol: That the provider chose.
    """

    def __init__(self, key: bytes, offered: tuple[str, ...], limit_bytes: int) -> None:
        self._accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        self._offered = offered
        self._limit_bytes = limit_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._body_bytes = 0
        self._body: list[bytes] = []
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.rest = b""
        self.subprotocol: str | None = None

    @property
    def body(self) -> bytes:
        """Of an answer that is no 101: its beginning."""
        return b"".join(self._body)[: self._limit_bytes]

    def feed(self, data: bytes) -> None:
        """
        Parse what came; nothing may be fed once `complete`.

        Raises:
            InvalidAnswer: It is no HTTP, too large, or a 101 that does not keep to the protocol.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            # What stands behind a complete answer is nobody's.
            if not self.complete:
                raise InvalidAnswer() from None
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > self._limit_bytes:
                raise InvalidAnswer("its head is too large")
        if self.status == 101:
            self._check()

    def _check(self) -> None:
        """See that a 101 is an answer to what was asked."""
        self.complete = True
        if self._values(b"sec-websocket-accept") != [self._accept] or self._values(b"sec-websocket-extensions"):
            raise InvalidAnswer("it agreed to another WebSocket than was asked for")
        for name, token in ((b"upgrade", b"websocket"), (b"connection", b"upgrade")):
            if not any(token in value.lower() for value in self._values(name)):
                raise InvalidAnswer("it agreed to something else than a WebSocket")
        chosen = [value.decode("latin-1") for value in self._values(b"sec-websocket-protocol") if value]
        if len(chosen) > 1 or not set(chosen) <= set(self._offered):
            raise InvalidAnswer("it chose a subprotocol that was not offered")
        self.subprotocol = chosen[0] if chosen else None

    def _values(self, name: bytes) -> list[bytes]:
        return [value.strip() for field, value in self.fields if field == name]

    # Called by httptools ----------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101 or status >= 200:
            self.status = self.status or status

    def on_body(self, piece: bytes) -> None:
        if self._body_bytes < self._limit_bytes:
            self._body.append(piece)
        self._body_bytes += len(piece)
        if self._body_bytes >= self._limit_bytes:
            self.complete = True

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
        else:
            self.fields.clear()
