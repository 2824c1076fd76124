"""What an accepted request asks for, before anything is done about it."""

from __future__ import annotations

import msgspec

from aigw.controls.authentication import Caller
from aigw.errors import GatewayError
from aigw.values.gateway import Gateway
from aigw.values.step import Step


class Opening(msgspec.Struct, frozen=True, gc=False):
    """
    One authenticated request.

    Attributes:
        gateway: The owner's settings, a snapshot.
        caller: See there.
        user_agent: As sent.
        request_type: `websocket`, `universal`, `native`, `unified` or `realtime`.
        event_id: The client's correlation id, empty when it gave none.
        steps: What to try, in order; empty when `refusal` is set before any could be read.
        settings: The request's `cf-aig-*` headers, names in lower case.
        country: Two letters, as a proxy in front tells; empty when unknown.
        refusal: Why the request cannot be served, found by the wire; it is logged all the same.
    """

    gateway: Gateway
    caller: Caller
    user_agent: str
    request_type: str
    event_id: str
    steps: tuple[Step, ...]
    settings: dict[bytes, bytes] = {}
    country: str = ""
    refusal: GatewayError | None = None
