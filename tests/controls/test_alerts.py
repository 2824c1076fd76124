"""Owners are told when budgets are spent."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.controls.alerts import TOLD_KEPT, WAITING, Alerts
from aigw.controls.visit import Visit
from aigw.errors import ConnectFailed, SpendLimitExceeded
from aigw.interfaces import ICounters, IOutboundHTTP
from aigw.values.gateway import Gateway, SpendFilter
from aigw.values.limits import LimitRule
from aigw.values.outbound import OutboundAnswer
from aigw.values.step import Headers
from tests.controls.visits import NOW_S, Away, Desk, budget, budgeted, fixed_price, rated, visit

HOOK = "https://owner.example/hook?key=sk-fake"


@implementer(IOutboundHTTP)
class Webhook:
    """
    Notes what it is sent, and answers when it is told to.

    Attributes:
        requests: What came: method, address, headers and body.
        waiting: Whom to answer.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, Headers, dict[str, Any]]] = []
        self.waiting: list[Deferred[OutboundAnswer]] = []

    def request(
        self,
        method: bytes,
        url: bytes,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_bytes: int = 65_536,
    ) -> Deferred[OutboundAnswer]:
        """See `IOutboundHTTP`."""
        self.requests.append((method, url, headers, json.loads(body)))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def answer(self, status: int = 204) -> None:
        """Answer everybody."""
        while self.waiting:
            self.waiting.pop(0).callback(OutboundAnswer(status, (), b""))

    def thresholds(self) -> list[int]:
        """What was told, in order."""
        return [body["threshold"] for _, _, _, body in self.requests]


class AlertTests(SynchronousTestCase):
    gateway = budgeted(budget(1, id="team"), spend_webhook=HOOK)

    def setUp(self) -> None:
        self.webhook = Webhook()
        self.clock = Clock()
        self.desk = Desk()
        self.alerts = self.start(self.desk)

    def start(self, desk: Desk, counters: ICounters | None = None) -> Alerts:
        alerts = Alerts(desk.counters if counters is None else counters, self.webhook, self.clock)
        desk.reserve._till = type(desk.till)(desk.counters, desk.estimates, desk.utc_ms, alerts)
        return alerts

    def spend(self, usd: float, gateway: Gateway | None = None, desk: Desk | None = None) -> None:
        desk = desk or self.desk
        desk.take(self.step(usd, gateway)).settle(None, round(usd * 1e9))

    def step(self, usd: float, gateway: Gateway | None = None) -> Visit:
        return visit(gateway or self.gateway, price=fixed_price(usd), metadata={"user": "ann@example.com"})

    def test_each_threshold_once(self) -> None:
        """While a budget is spent, its owner hears of 50, of 80 and of 100 %, each once."""
        told = []
        for _ in range(10):
            self.spend(0.1)
            told.append(self.webhook.thresholds())
        self.assertEqual(told, [[]] * 4 + [[50]] * 3 + [[50, 80]] * 2 + [[50, 80, 100]])
        self.webhook.answer()
        self.assertEqual((self.alerts.sent, self.webhook.thresholds()), (3, [50, 80, 100]))

    def test_what_is_told(self) -> None:
        """The notice names gateway, rule, amounts and the window's end, and nothing of any request."""
        self.spend(0.6)
        self.assertEqual(
            self.webhook.requests,
            [
                (
                    b"POST",
                    HOOK.encode(),
                    ((b"content-type", b"application/json"),),
                    {
                        "type": "spend_threshold",
                        "account": "local",
                        "gateway": "default",
                        "rule": "team",
                        "threshold": 50,
                        "spent_usd": 0.6,
                        "limit_usd": 1.0,
                        "window_ends_at": "2026-11-23T19:00:00.000Z",
                    },
                )
            ],
        )
        self.assertEqual(NOW_S % 3600, 0)

    def test_several_at_once(self) -> None:
        """One dear request that passes two thresholds has both told."""
        self.spend(0.9)
        self.webhook.answer()
        self.assertEqual(self.webhook.thresholds(), [50, 80])

    def test_what_is_only_held_is_not_told(self) -> None:
        """A request that may cost a lot raises no alarm until it has."""
        hold = self.desk.take(self.step(0.9))
        self.assertEqual(self.webhook.requests, [])
        hold.settle(None, 1)
        self.assertEqual(self.webhook.requests, [])

    def test_a_refusal_tells(self) -> None:
        """Where the last of a budget was spent unseen, the first refusal has it told."""
        quiet = budgeted(budget(1, id="team"))
        self.spend(1, quiet)
        self.assertEqual(self.webhook.requests, [])
        self.assertRaises(SpendLimitExceeded, self.desk.take, self.step(0.1))
        self.webhook.answer()
        self.assertEqual(self.webhook.thresholds(), [50, 80, 100])

    def test_the_next_window(self) -> None:
        """Each window tells anew."""
        self.spend(0.5)
        self.desk.clock.advance(3600)
        self.spend(0.5)
        self.assertEqual(self.webhook.thresholds(), [50, 50])

    def test_a_sliding_window_does_not_repeat_itself(self) -> None:
        """A sliding budget that stays above a threshold is told once in a window, not with each of its parts."""
        gateway = budgeted(budget(1, 60, technique="sliding"), spend_webhook=HOOK)
        self.spend(0.55, gateway)
        for _ in range(10):
            self.desk.clock.advance(1.1)
            self.spend(0.001, gateway)
        self.assertLessEqual(len(self.webhook.requests), 2)

    def test_each_user_has_a_budget(self) -> None:
        """Each counter of a rule that is kept apart by user is told by itself."""
        gateway = budgeted(budget(1, metadata={"user": SpendFilter("partition")}), spend_webhook=HOOK)
        self.spend(0.5, gateway)
        self.desk.take(visit(gateway, price=fixed_price(0.5), metadata={"user": "bob"})).settle(None, 500_000_000)
        self.assertEqual(self.webhook.thresholds(), [50, 50])
        self.assertNotIn("ann", repr(self.webhook.requests))

    def test_one_process_tells(self) -> None:
        """Of several processes that share their counters, one tells."""
        other = Desk(self.desk.memory)
        self.start(other)
        self.spend(0.3)
        self.spend(0.3, desk=other)
        self.spend(0.1)
        self.spend(0.05, desk=other)
        self.assertEqual(self.webhook.thresholds(), [50])

    def test_nobody_to_tell(self) -> None:
        """Without a webhook, and for limits that are no budgets, nothing is sent."""
        self.spend(0.9, budgeted(budget(1)))
        self.spend(0.9, rated(LimitRule(1, 60), spend_webhook=HOOK))
        self.assertEqual(self.webhook.requests, [])

    def test_three_attempts(self) -> None:
        """A webhook that is away for a moment hears of it later; nobody waits meanwhile."""
        self.spend(0.5)
        self.webhook.answer(500)
        self.clock.advance(1)
        self.webhook.waiting.pop().errback(ConnectFailed())
        self.clock.advance(9.9)
        self.assertEqual(len(self.webhook.requests), 2)
        self.clock.advance(0.1)
        self.webhook.answer()
        self.assertEqual((self.webhook.thresholds(), self.alerts.sent, self.alerts.failed), ([50] * 3, 1, 0))

    def test_a_webhook_that_stays_away(self) -> None:
        """After three attempts the notice is given up, counted and logged, without the webhook's address."""
        self.spend(0.5)
        for _ in range(4):
            self.webhook.answer(500)
            self.clock.advance(100)
        self.assertEqual((len(self.webhook.requests), self.alerts.sent, self.alerts.failed), (3, 0, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """A webhook that never answers holds a bounded number of notices."""
        gateway = budgeted(budget(1, model=SpendFilter("partition")), spend_webhook=HOOK)
        for number in range(WAITING + 5):
            self.desk.take(visit(gateway, model=f"m{number}", price=fixed_price(0.5))).settle(None, 500_000_000)
        self.assertEqual((len(self.webhook.waiting), self.alerts.dropped), (WAITING, 5))
        self.alerts.stop()
        self.assertEqual(len(self.alerts._running), 0)

    def test_what_was_told_is_bounded(self) -> None:
        """A million users' budgets fill no memory with what was told."""
        gateway = budgeted(budget(1, model=SpendFilter("partition")), spend_webhook=HOOK)
        for number in range(TOLD_KEPT + 10):
            self.desk.take(visit(gateway, model=f"m{number}", price=fixed_price(0.5))).settle(None, 500_000_000)
            self.webhook.answer()
        self.assertEqual(len(self.alerts._told), TOLD_KEPT)

    def test_counters_that_are_away(self) -> None:
        """Without counters nothing is told, nothing breaks, and the next answer tries again."""
        for later in (False, True):
            alerts = self.start(self.desk, Away(later=later))
            self.spend(0.25)
            self.assertEqual((self.webhook.requests, len(alerts._running)), ([], 0))
        self.start(self.desk)
        self.spend(0.1)
        self.assertEqual(self.webhook.thresholds(), [50])
