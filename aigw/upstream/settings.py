"""What an operator may set about connections to providers."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


class UpstreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Bounds of the connections to providers, and the sandbox's pace. Clocks belong to each request: see `Clocks`.

    Attributes:
        connections_per_host: Connections to one scheme, host and port, busy and idle ones together.
        waiting_per_host: Requests that may wait for one of them; the next is refused with `ProviderQueueFull`.
        idle_per_host: Connections kept open while they serve nothing.
        idle_s: How long such a connection is kept, in seconds.
        resend_within_s: A reused connection that the provider closes within so many seconds after a request was
            written to it, without one byte of an answer, was closed before it saw the request: the request goes out
            once more on a new connection. 0 never sends twice.
        head_bytes: Status line and header fields of an answer; also its trailers, and anything else that is no body.
        head_fields: Header fields of an answer.
        dns_threads: Host names looked up at the same time.
        trust_roots: A PEM file with certificates of authorities to be trusted beside the system's own; empty for none.
        sandbox_pace_ms: Time between two chunks of a sandbox stream, in milliseconds.
    """

    connections_per_host: Count = 512
    waiting_per_host: CountOrNone = 1024
    idle_per_host: CountOrNone = 128
    idle_s: Annotated[float, Meta(gt=0)] = 50.0
    resend_within_s: Seconds = 2.0
    head_bytes: Annotated[int, Meta(ge=1024)] = 65_536
    head_fields: Annotated[int, Meta(ge=16)] = 256
    dns_threads: Count = 16
    trust_roots: str = ""
    sandbox_pace_ms: Annotated[float, Meta(ge=0)] = 20.0
