"""What one limit holds of an exchange, and what holds are settled with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import msgspec

from aigw.controls.estimate import Estimates
from aigw.controls.limit import Limit
from aigw.controls.windows import Span
from aigw.interfaces import ICounters
from aigw.values.counting import Charged, Correction
from aigw.values.gateway import Gateway


class Entry(msgspec.Struct):
    """
    What one limit holds of an exchange, in the limit's unit.

    Attributes:
        limit: See there.
        span: Where it was taken.
        amount: What the counter holds of the exchange in that slot.
        real: How much of it is known to be used.
        used: What the window held when it was taken, this exchange included.
        current: Whether the limit is for the step that the exchange is at.
        past: What a long session has used in slots before this one.
    """

    limit: Limit
    span: Span
    amount: int = 0
    real: int = 0
    used: int = 0
    current: bool = True
    past: tuple[Charged, ...] = ()

    def charged(self, amount: int) -> Charged:
        """An amount, as the log keeps it."""
        return Charged(self.limit.key, self.span.slot, self.span.expires_ms, amount)

    def correction(self, amount: int) -> Correction:
        """What brings the counter's slot to an amount."""
        return Correction(self.limit.key, self.span.slot, amount - self.amount, self.span.expires_ms)


class Watch(Protocol):
    """Who is told when counters have changed."""

    def changed(self, gateway: Gateway, entries: Sequence[Entry]) -> None:
        """These limits hold something else now. Never raises, never waits."""


@attrs.frozen
class Till:
    """
    What holds are settled with.

    Attributes:
        counters: See there.
        estimates: Learn from what was used, and know what counts for a model without a price.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        watch: Is told of every change; None for nobody.
    """

    counters: ICounters
    estimates: Estimates
    utc_ms: Callable[[], int]
    watch: Watch | None = None
