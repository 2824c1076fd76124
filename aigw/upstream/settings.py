"""What an operator may set about connections to providers."""

from __future__ import annotations

import attrs


@attrs.frozen
class UpstreamSettings:
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

    connections_per_host: int = attrs.field(default=512, validator=attrs.validators.ge(1))
    waiting_per_host: int = attrs.field(default=1024, validator=attrs.validators.ge(0))
    idle_per_host: int = attrs.field(default=128, validator=attrs.validators.ge(0))
    idle_s: float = attrs.field(default=50.0, validator=attrs.validators.gt(0))
    resend_within_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    head_bytes: int = attrs.field(default=65_536, validator=attrs.validators.ge(1024))
    head_fields: int = attrs.field(default=256, validator=attrs.validators.ge(16))
    dns_threads: int = attrs.field(default=16, validator=attrs.validators.ge(1))
    trust_roots: str = ""
    sandbox_pace_ms: float = attrs.field(default=20.0, validator=attrs.validators.ge(0))
