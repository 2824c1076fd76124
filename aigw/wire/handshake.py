"""A client's opening handshake, as far as it is ours to judge."""

from __future__ import annotations

import re

from twisted.web.server import Request

from aigw.controls.authentication import SUBPROTOCOL_PREFIX
from aigw.errors import MalformedRequest

# Bytes that Autobahn's handshake parser takes for line ends.
_LINE_ENDS = re.compile(rb"[\x0b\x0c\x1c\x1d\x1e\x85]")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_SUBPROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_offered(request: Request) -> list[str]:
    """
    The subprotocols that the client offers, after a look at every header of the handshake.

    Raises:
        MalformedRequest: It is no handshake that Autobahn would read as we do.
    """
    for name, values in request.requestHeaders.getAllRawHeaders():
        if name.lower().startswith((b"sec-websocket-", b"origin", b"host", b"upgrade", b"connection")) and any(
            _LINE_ENDS.search(value) for value in values
        ):
            raise MalformedRequest("a header of the handshake holds a forbidden byte")
    if (request.getHeader(b"sec-websocket-version") or b"").strip() != b"13":
        raise MalformedRequest("Sec-WebSocket-Version is not 13")
    keys = request.requestHeaders.getRawHeaders(b"sec-websocket-key") or []
    if len(keys) != 1 or not _KEY.fullmatch(keys[0].strip()):
        raise MalformedRequest("a handshake has exactly one Sec-WebSocket-Key, of 16 bytes in base64")
    connection = b",".join(request.requestHeaders.getRawHeaders(b"connection") or []).lower()
    if b"upgrade" not in (token.strip() for token in connection.split(b",")):
        raise MalformedRequest("the Connection header does not say `Upgrade`")
    offered: list[str] = []
    for value in request.requestHeaders.getRawHeaders(b"sec-websocket-protocol") or []:
        offered += [text for text in (part.strip() for part in value.decode("latin-1").split(",")) if text]
    if len(set(offered)) != len(offered) or not all(_SUBPROTOCOL.fullmatch(text) for text in offered):
        raise MalformedRequest("Sec-WebSocket-Protocol is not a list of different tokens")
    return offered


def select_subprotocol(offered: list[str]) -> str | None:
    """
    The subprotocol to answer with: browsers fail a connection on which they offered some and none was selected.

    Args:
        offered: In the client's order.
    Returns:
        The first that is no secret, else the gateway's own token, which the client shares with nobody but us; None when
        none was offered.
    """
    public = (text for text in offered if not text.startswith(SUBPROTOCOL_PREFIX) and "key." not in text)
    token = (text for text in offered if text.startswith(SUBPROTOCOL_PREFIX))
    return next(public, None) or next(token, None) or next(iter(offered), None)
