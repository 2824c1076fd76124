"""One step of an exchange, as the controls see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from aigw.controls.authentication import Caller
from aigw.values.gateway import Gateway
from aigw.values.record import Target
from aigw.values.step import Ask, UpstreamRequest
from aigw.values.usage import Usage

Metadata = Mapping[str, str | int | float | bool]


class Visit(msgspec.Struct, frozen=True):
    """
    Attributes:
        gateway: The owner's settings, a snapshot.
        caller: See there.
        target: Provider, model and path of the step.
        request: As it will be sent; its headers hold the provider's credential.
        settings: The `cf-aig-*` headers that hold for the step: its own over the request's, without the locked ones.
        metadata: As checked, at most five entries; never the caller's identity.
        raw_metadata: The same as JSON; empty for none. The same text means the same metadata.
        ask: See there.
        now_ms: When the exchange opened; UTC, milliseconds since the epoch.
        price: Nano-dollars of a usage of this step's model, by the request's own price where it has one; None when
            unknown.
        country: Two letters, as a proxy in front tells; empty when unknown.
    """

    gateway: Gateway
    caller: Caller
    target: Target
    request: UpstreamRequest
    settings: Mapping[bytes, bytes]
    metadata: Metadata
    raw_metadata: bytes
    ask: Ask
    now_ms: int
    price: Callable[[Usage], int | None]
    country: str = ""
