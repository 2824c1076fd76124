"""What a client is told when a limit has no room."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.limit import Limit, Overrun
from aigw.controls.refusals import passes, rate_headers, refusal
from aigw.controls.visit import Visit
from aigw.controls.windows import fixed
from aigw.errors import GatewayError, SpendLimitExceeded
from aigw.values.gateway import Gateway
from aigw.values.limits import Unit
from tests.controls.visits import visit

STEP = visit(Gateway(id="default"))


def limit(unit: Unit, is_open: bool | None = None) -> Limit:
    """A limit of ten, whose refusal says when to come back in its own way if that takes a minute."""

    def refuse(overrun: Overrun, visit: Visit) -> GatewayError:
        error = SpendLimitExceeded()
        if overrun.retry_after_s == 60:
            error.headers = ((b"retry-after", b"later"),)
        return error

    return Limit("key", unit, 10, fixed(60), "name", refuse, is_open)


class RefusalTests(SynchronousTestCase):
    def test_its_own_word(self) -> None:
        """A refusal that says itself when to come back is not contradicted."""
        self.assertEqual(refusal(limit("usd"), STEP, 10, 60).headers, ((b"retry-after", b"later"),))
        self.assertEqual(refusal(limit("usd"), STEP, 10, 5).headers, ((b"retry-after", b"5"),))

    def test_what_is_left(self) -> None:
        """A window that holds more than its limit has nothing left, and not less than that."""
        self.assertEqual(rate_headers(limit("tokens"), -5, 7)[1], (b"ratelimit-remaining", b"0"))
        self.assertEqual(len(refusal(limit("tokens"), STEP, 12, 5).headers), 4)


class PassesTests(SynchronousTestCase):
    def test_whose_choice(self) -> None:
        """A limit with a choice of its own follows that, all others the gateway's for rates and for money."""
        gateway = Gateway(id="default", rate_limits_when_down="closed", spend_limits_when_down="open")
        cases: list[tuple[Unit, bool | None, bool]] = [
            ("requests", None, False),
            ("tokens", None, False),
            ("usd", None, True),
            ("usd", False, False),
            ("requests", True, True),
        ]
        for unit, is_open, expected in cases:
            with self.subTest(unit=unit, is_open=is_open):
                self.assertEqual(passes(limit(unit, is_open), visit(gateway)), expected)
