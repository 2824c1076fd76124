"""An answer as a cache keeps it."""

from __future__ import annotations

import msgspec

from aigw.values.usage import Usage


class CachedAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    A complete answer of a provider, good to be given again.

    Attributes:
        status: HTTP status.
        headers: Those that describe the body, such as `content-type`; names in lower case.
        body: Every byte, out of its transfer coding; a stream's bytes with its end mark.
        stored_ms: When it was stored; UTC, milliseconds since the epoch, as is the next.
        fresh_until_ms: Until then it is given instead of asking the provider; later only when the provider fails.
        model: As the answer names it.
        usage: Of the call that made it; a hit costs nothing.
        log_id: Of that call.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    stored_ms: int
    fresh_until_ms: int
    model: str = ""
    usage: Usage | None = None
    log_id: str = ""

    @property
    def streams(self) -> bool:
        """Whether it is a stream of events."""
        return any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in self.headers
        )
