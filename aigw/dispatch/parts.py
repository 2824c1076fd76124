"""What every exchange works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from aigw.dispatch.admission import Controls
from aigw.dispatch.settings import DispatchSettings
from aigw.interfaces import ILogSink, IRealtimeUpstream, IUpstream
from aigw.serving.wheel import Timer
from aigw.values.record import End
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
        controls: What a step passes before a provider is asked.
        later: Calls back after seconds; what it returns has `cancel()`.
        soon: Calls back in the next turn of the reactor.
        realtime: Opens WebSockets to providers; None where there are none.
    """

    upstream: IUpstream
    sink: ILogSink
    price: Callable[[str, str, Usage], int | None]
    monotonic: Callable[[], float]
    meter: Meter
    settings: DispatchSettings
    controls: Controls
    later: Callable[[float, Callable[[], None]], Timer]
    soon: Callable[[Callable[[], None]], object]
    realtime: IRealtimeUpstream | None = None
