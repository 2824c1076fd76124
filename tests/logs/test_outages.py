"""Logs while PostgreSQL is frozen or killed under them."""

from __future__ import annotations

import signal
from itertools import pairwise

from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater

from aigw.storage.dsn import Dsn
from aigw.storage.settings import DatabaseSettings
from tests.logs.shipping import ShippingCase
from tests.storage.own_server import OwnServerTestCase, until


class OutageTests(OwnServerTestCase, ShippingCase):
    """A server of the test's own."""

    database_settings = DatabaseSettings(answer_s=0.3, connect_s=0.3)

    async def setUp(self) -> None:  # type: ignore[override]  # trial takes either kind
        """Start the server, then all that needs it."""
        OwnServerTestCase.setUp(self)
        await ShippingCase.setUp(self)

    async def dsn(self) -> Dsn:
        """See `ShippingCase`."""
        self.postgres = self.server()
        return await self.postgres.start()

    async def test_a_frozen_database_slows_no_request(self) -> None:
        """While PostgreSQL is stopped (SIGSTOP), final frames leave as ever; afterwards every log is there, once."""
        self.log(cost_nanousd=1)
        await self.shipped()
        self.send(signal.SIGSTOP)
        gaps: list[float] = []
        turning = LoopingCall(lambda: gaps.append(reactor.seconds()))
        turning.start(0.005).addErrback(self.fail)
        released: list[int] = []
        for index in range(50):
            self.spool.end(self.records.end(cost_nanousd=1), lambda index=index: released.append(index))
            await deferLater(reactor, 0.01)
        self.assertGreaterEqual(len(released), 49)
        await until(lambda: self.stats.ship_failures > 0)
        turning.stop()
        self.send(signal.SIGCONT)
        await self.shipped()
        self.assertEqual(await self.count("logs"), 51)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), 51)
        # Not a measure of speed: one blocking wait for the frozen server would have held the reactor until SIGCONT.
        self.assertLess(max(b - a for a, b in pairwise(gaps)), 0.3)

    async def test_a_database_that_is_killed_again_and_again(self) -> None:
        """However often PostgreSQL dies in the middle of a batch, each log is stored once and counted once."""
        logged: list[bytes] = []
        for _ in range(4):
            for _ in range(15):
                logged.append(self.log(cost_nanousd=1, response_body=b"x" * 2000))
                await deferLater(reactor, 0.003)
            self.send(signal.SIGKILL)
            logged.append(self.log(cost_nanousd=1))
            await until(lambda: not self.real.available)
            await self.real.reached()
        await self.shipped()
        self.assertEqual(await self.ids(), logged)
        self.assertEqual(await self.count("usage_rollups", "sum(cost_nanousd)"), len(logged))
        self.assertEqual(await self.count("live_rows", "sum(count)"), len(logged))
