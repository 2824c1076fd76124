"""A limit that one request must fit into, whoever set it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from aigw.controls.visit import Visit
from aigw.controls.windows import Window
from aigw.errors import GatewayError
from aigw.values.limits import Unit

# Counters of money outlive the process: their keys begin so, all others begin otherwise. A store in memory holds them
# back until they are built anew after a start.
SPEND = "spend:"
RATE = "rate:"


@attrs.frozen
class Overrun:
    """
    Why a limit refuses.

    Attributes:
        used: What the window holds without this request, in the limit's unit (nano-dollars for `usd`).
        limit: In the same unit.
        retry_after_s: Whole seconds until there is room again, 1 at least.
    """

    used: int
    limit: int
    retry_after_s: int


@attrs.frozen
class Limit:
    """
    Attributes:
        key: Of the counter, partition values included. The same key is charged once in an exchange. Begins with
            `SPEND` for the unit `usd`, else with `RATE`.
        unit: What is counted.
        limit: The most in a window: requests, tokens, or nano-dollars.
        window: See there.
        name: For errors, metrics and webhooks; no caller's word.
        refusal: Makes the error for the client, for the step that does not fit.
        open: Whether requests pass while the counters cannot be reached; None: as the step's gateway says for rates and
            for money.
        alert: Whether thresholds of this limit call the gateway's webhook.
    """

    key: str
    unit: Unit
    limit: int
    window: Window
    name: str
    refusal: Callable[[Overrun, Visit], GatewayError]
    open: bool | None = None
    alert: bool = False


class LimitSource(Protocol):
    """Whoever sets limits: a gateway, a token, a team, a policy."""

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """
        The limits that hold for a step; none when nothing does.

        Raises:
            GatewayError: Nobody can say which, and the owner wants such a step refused.
        """
