"""A WebSocket to a provider, before it is opened."""

from __future__ import annotations

import attrs

from aigw.values.step import Clocks, Headers


@attrs.frozen
class RealtimeRequest:
    """
    One upgrade, ready to be sent.

    Attributes:
        url: Absolute, percent-encoded; `https://` or `http://`, which stand for `wss://` and `ws://`.
        headers: Complete but for those of the handshake itself; names in lower case; the values hold credentials.
        subprotocols: To offer, in their order; some vendors take credentials in them.
        clocks: `connect_s`, `first_byte_s` (to the answer) and `total_s` (of the whole session); `idle_s` is not used.
        trusted: Whether the address is the operator's own word, so that it may be a private one.
    """

    url: bytes
    # Both may hold keys, and representations end in logs.
    headers: Headers = attrs.field(repr=False)
    subprotocols: tuple[str, ...] = attrs.field(repr=False)
    clocks: Clocks
    trusted: bool = False
