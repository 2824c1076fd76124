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
        allow_private: Whether providers may be reached at private, loopback, link-local and other special addresses.
            Those that the operator has given an address of their own may anyway.
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
    allow_private: bool = False
    sandbox_pace_ms: Annotated[float, Meta(ge=0)] = 20.0


class RealtimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Bounds of the WebSockets to providers. None of them can be switched off.

    Attributes:
        sockets: How many may be open at a time; one more is refused with `ProviderQueueFull`.
        message_bytes: Length of a message; a longer one ends the session with code 4025.
        frame_bytes: Length of one frame of a message; the same.
        frames_per_message: Frames that one message may be cut into.
        answer_bytes: Head of the answer to an upgrade, and as much again of a refusal's body.
        ping_interval_s: Seconds between two pings to a silent provider.
        ping_timeout_s: Seconds for a provider to answer a ping; then the session ends with code 4022.
        stalled_s: Seconds that a provider may read nothing while bytes wait for it; then the same.
        closing_s: Seconds for the closing handshake.
    """

    sockets: Count = 20_000
    message_bytes: Count = 16_777_216
    frame_bytes: Count = 16_777_216
    frames_per_message: Count = 1_024
    answer_bytes: Annotated[int, Meta(ge=1024)] = 65_536
    ping_interval_s: Annotated[float, Meta(gt=0)] = 30.0
    ping_timeout_s: Annotated[float, Meta(gt=0)] = 20.0
    stalled_s: Annotated[float, Meta(gt=0)] = 120.0
    closing_s: Annotated[float, Meta(gt=0)] = 5.0
