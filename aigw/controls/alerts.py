"""Tells a gateway's owner when 50, 80 and 100 % of a budget are spent."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.controls.entry import Entry
from aigw.controls.limit import Limit
from aigw.controls.windows import Span
from aigw.errors import GatewayError, StateUnavailable
from aigw.interfaces import ICounters, IOutboundHTTP
from aigw.values.counting import Charge
from aigw.values.gateway import Gateway
from aigw.values.moment import utc_text
from aigw.values.usage import NANOUSD_PER_USD

# Percent of a limit.
THRESHOLDS = (50, 80, 100)

# Seconds before the second and before the third attempt.
BACKOFF_S = (1.0, 10.0)

# Calls under way or waiting for another attempt. A webhook that is away must not fill the memory.
WAITING = 256

# Thresholds that are known to have been told, by anybody.
TOLD_KEPT = 10_000

_JSON = ((b"content-type", b"application/json"),)


class Notice(msgspec.Struct, frozen=True):
    """
    What the webhook is sent, as JSON. It names no caller and holds nothing of any request.

    Attributes:
        gateway, account: Whose budget it is.
        rule: The budget's name.
        threshold: Percent that were reached.
        spent_usd: Spent in this window, what is held for requests in flight included.
        limit_usd: Of the budget.
        window_ends_at: When the window in which it was spent counts no more; ISO 8601, UTC.
        type: Always the same, so that one address may take several kinds.
    """

    gateway: str
    account: str
    rule: str
    threshold: int
    spent_usd: float
    limit_usd: float
    window_ends_at: str
    type: str = "spend_threshold"


class Alerts:
    """
    Watches budgets, and calls webhooks beside the request's path.

    Each threshold of each counter and window is told once by all processes together: who takes the one place of a
    counter of its own is the one to tell. Counters in memory forget that with the process.

    Args:
        counters: See there.
        outbound: Reaches the webhooks.
        clock: For the pauses between attempts.

    Attributes:
        sent: Notices that a webhook has taken.
        failed: Notices that none of the attempts got through.
        dropped: Notices for which there was no room.
    """

    _log = Logger()

    def __init__(self, counters: ICounters, outbound: IOutboundHTTP, clock: Any) -> None:
        self._counters = counters
        self._outbound = outbound
        self._clock = clock
        self._told: dict[tuple[str, int, int], None] = {}
        self._running: set[Deferred[None]] = set()
        self.sent = self.failed = self.dropped = 0

    def changed(self, gateway: Gateway, entries: Sequence[Entry]) -> None:
        """See `Watch`."""
        if gateway.spend_webhook is None:
            return
        for entry in entries:
            limit = entry.limit
            # Whoever took last has seen what the window held; below the next threshold there is nothing to ask.
            if limit.alert and entry.used * 100 >= limit.limit * self._next_threshold(limit, entry.span):
                self._start(_Watched(gateway, gateway.spend_webhook, limit, entry.span))

    def stop(self) -> None:
        """Give up what is under way."""
        for running in list(self._running):
            running.cancel()

    def _next_threshold(self, limit: Limit, span: Span) -> float:
        """The lowest that nobody here knows to have been told; infinite when all were."""
        round_ = limit.window.round(span)
        return next((percent for percent in THRESHOLDS if (limit.key, round_, percent) not in self._told), inf)

    def _start(self, watched: _Watched) -> None:
        if len(self._running) >= WAITING:
            self.dropped += 1
            self._log.warn("No room for the notice of budget {rule}", rule=watched.limit.name)
            return
        running = Deferred.fromCoroutine(self._look(watched))
        self._running.add(running)
        running.addErrback(self._ended).addCallback(lambda _: self._running.discard(running))

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError, StateUnavailable) is None:
            self._log.failure("A defect in a budget's notice", failure)

    async def _look(self, watched: _Watched) -> None:
        """Tell every threshold that was reached and that nobody has told."""
        limit, span = watched.limit, watched.span
        sums = self._counters.read((Charge(limit.key, span.slot, span.first, 1, 1, limit.limit, span.expires_ms),))
        (spent,) = await sums if isinstance(sums, Deferred) else sums
        for percent in THRESHOLDS:
            if spent * 100 >= limit.limit * percent and await self._is_ours(limit, span, percent):
                await self._tell(watched.webhook, watched.notice(percent, spent))

    async def _is_ours(self, limit: Limit, span: Span, percent: int) -> bool:
        """Whether it is for this process to tell a threshold."""
        round_ = limit.window.round(span)
        told = (limit.key, round_, percent)
        if told in self._told:
            return False
        place = Charge(f"alert:{percent}:{limit.key}", round_, round_, 1, 1, 1, span.expires_ms)
        verdict = self._counters.take((place,))
        if isinstance(verdict, Deferred):
            verdict = await verdict
        if len(self._told) >= TOLD_KEPT:
            del self._told[next(iter(self._told))]
        self._told[told] = None
        return verdict.refused < 0

    async def _tell(self, webhook: str, notice: Notice) -> None:
        body = msgspec.json.encode(notice)
        for pause_s in (*BACKOFF_S, None):
            try:
                answer = await self._outbound.request(b"POST", webhook.encode(), _JSON, body)
                if answer.status < 300:
                    self.sent += 1
                    return
                reason = f"status {answer.status}"
            except GatewayError as error:
                reason = error.text
            if pause_s is not None:
                await deferLater(self._clock, pause_s)
        self.failed += 1
        self._log.error(
            "The webhook of gateway {gateway} did not take the notice of budget {rule}: {reason}",
            gateway=notice.gateway,
            rule=notice.rule,
            reason=reason,
        )


@attrs.frozen
class _Watched:
    """
    One budget in one window.

    Attributes:
        gateway, webhook: Whose it is, and who is told.
        limit, span: Which.
    """

    gateway: Gateway
    webhook: str
    limit: Limit
    span: Span

    def notice(self, percent: int, spent: int) -> Notice:
        """What is told of a threshold."""
        return Notice(
            gateway=self.gateway.id,
            account=self.gateway.account,
            rule=self.limit.name,
            threshold=percent,
            spent_usd=spent / NANOUSD_PER_USD,
            limit_usd=self.limit.limit / NANOUSD_PER_USD,
            window_ends_at=utc_text(self.span.expires_ms),
        )
