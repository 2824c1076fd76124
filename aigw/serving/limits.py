"""How much of everything a client may take."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class SocketLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of the WebSocket server. None of them can be switched off; the smallest value of each is 1."""

    sockets: Annotated[int, Meta(ge=1, description="Open WebSockets at a time; one more is answered with 503.")] = (
        20_000
    )
    in_flight: Annotated[
        int, Meta(ge=1, description="Requests in flight on one WebSocket; one more is refused with code 4006.")
    ] = 1_000
    message_bytes: Annotated[
        int, Meta(ge=1, description="Length of a message; a longer one closes the socket with 1009.")
    ] = 16_777_216
    frame_bytes: Annotated[
        int, Meta(ge=1, description="Length of one frame of a message; a longer one closes the socket with 1009.")
    ] = 16_777_216
    frames_per_message: Annotated[
        int, Meta(ge=1, description="Frames that one message may be cut into; more close the socket with 1008.")
    ] = 1_024
    message_s: Annotated[
        float, Meta(gt=0, description="Seconds for a message to be complete once it has begun; then 1008.")
    ] = 30.0
    ping_interval_s: Annotated[float, Meta(gt=0, description="Seconds between two pings to a silent client.")] = 30.0
    ping_timeout_s: Annotated[
        float, Meta(gt=0, description="Seconds for a client to answer a ping; then the connection is dropped.")
    ] = 20.0
    stalled_s: Annotated[
        float, Meta(gt=0, description="Seconds that a client may read nothing while bytes wait for it; then dropped.")
    ] = 120.0
    handshake_s: Annotated[float, Meta(gt=0, description="Seconds for the closing handshake.")] = 5.0
    waiting_bytes: Annotated[
        int, Meta(ge=1, description="Bytes waiting for a slow reader before its providers are paused.")
    ] = 262_144
    event_id_chars: Annotated[int, Meta(ge=1, description="Length of an event id.")] = 256
    steps: Annotated[int, Meta(ge=1, description="Steps that one request may list.")] = 16
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins whose pages may connect, such as `https://app.example.com`; `*` allows every one."
            " Programs that are no browsers send no origin and are not asked for one."
        ),
    ] = ("*",)


class HttpLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of the HTTP server beneath both ports."""

    connections: Annotated[int, Meta(ge=1, description="Open TCP connections of one port; one more is closed.")] = (
        25_000
    )
    head_s: Annotated[
        float, Meta(gt=0, description="Seconds for a request's head to be complete, idle time on keep-alive included.")
    ] = 60.0
    body_s: Annotated[
        float,
        Meta(
            gt=0, description="Seconds for a request's body to be complete; for one that is not held, between pieces."
        ),
    ] = 60.0
    body_bytes: Annotated[
        int, Meta(ge=0, description="Length of a request body that is held; a longer one gets 413.")
    ] = 1_048_576
    header_bytes: Annotated[int, Meta(ge=1024, description="Length of all headers of a request together.")] = 65_536
    headers: Annotated[int, Meta(ge=16, description="Headers of one request.")] = 200
