"""What every exchange works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from aigw.dispatch.settings import DispatchSettings
from aigw.errors import GatewayError
from aigw.interfaces import ILogSink, IRealtimeUpstream, IUpstream
from aigw.serving.wheel import Timer
from aigw.values.record import End, Origin
from aigw.values.usage import Usage


class Meter(Protocol):
    """What counts exchanges."""

    def opened(self) -> None:
        """An exchange has opened."""

    def ended(self, record: End) -> None:
        """An exchange is over; called once for each that was opened."""


@attrs.frozen
class Parts:
    """
    Attributes:
        upstream: Sends requests to providers.
        sink: Takes records.
        price: Nano-dollars of a usage by provider and model; None when unknown.
        monotonic: Seconds, for durations.
        meter: Counts.
        settings: Bounds.
        later: Calls back after seconds; what it returns has `cancel()`.
        realtime: Opens WebSockets to providers; None where there are none.
        turn_ended: Judges a realtime session after each of its turns; an error ends it.
    """

    upstream: IUpstream
    sink: ILogSink
    price: Callable[[str, str, Usage], int | None]
    monotonic: Callable[[], float]
    meter: Meter
    settings: DispatchSettings
    later: Callable[[float, Callable[[], None]], Timer]
    realtime: IRealtimeUpstream | None = None
    turn_ended: Callable[[Origin, Usage | None], GatewayError | None] = lambda _origin, _usage: None
