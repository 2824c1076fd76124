"""One step of an exchange, as the controls see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from aigw.controls.authentication import Caller
from aigw.values.gateway import Gateway
from aigw.values.record import Target
from aigw.values.step import Ask, UpstreamRequest
from aigw.values.usage import Usage

Metadata = Mapping[str, str | int | float | bool]


class Price(Protocol):
    """What a usage of one step costs."""

    def __call__(self, usage: Usage, response_model: str = "") -> int | None:
        """Nano-dollars, None when unknown."""


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
        price: Nano-dollars of a usage, by the request's own price where it has one, else by that of the model that
            answered (its second argument, empty when not known) or was asked for; None when unknown.
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
    price: Price
    country: str = ""
