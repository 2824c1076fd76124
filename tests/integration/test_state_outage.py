"""A store of counters that goes away while a gateway serves."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import deferLater

from aigw.testing.gateway import GatewayProcess
from aigw.testing.redis import RedisServer
from tests.integration import LOOK_S, fetch
from tests.integration.crowd import Crowd
from tests.integration.limits import CENT, WHOLE, LimitCase

ROUTES = 3
CLOSED = """
[[gateway]]
id = "closed"
rate_limiting_limit = 1000
rate_limiting_interval = 3600
rate_limits_when_down = "closed"
"""


class RedisOutageTests(LimitCase):
    async def test_killed(self) -> None:
        """
        Without Redis, limits that are set to `open` let requests pass on every route and those set to `closed` refuse
        them with 503; operators see it, and it all ends when Redis is back.
        """
        server = RedisServer()
        server.start()
        self.addCleanup(server.stop)
        self.config += f'{CLOSED}[state]\nstore = "redis"\nredis = "{server.url}"\n'
        gateway = await self.start()
        await self.counters(gateway, True)
        # By default limits of requests are open, and budgets closed.
        opened, *shut = [Crowd(self, [gateway], name) for name in ("fixed", "closed", "budget")]
        for crowd in (opened, *shut):
            self.assertEqual({one.status for one in await crowd.ask(ROUTES, WHOLE, CENT)}, {200})
        server.stop()
        await self.counters(gateway, False)
        self.assertEqual({one.status for one in await opened.ask(5 * ROUTES, WHOLE, CENT)}, {200})
        asked = len(self.stub.requests)
        for crowd in shut:
            for one in await crowd.ask(ROUTES, WHOLE, CENT):
                self.assertEqual((one.status, one.code), (503, 4064))
                self.assertGreater(int(one.headers["retry-after"]), 0)
        self.assertEqual(len(self.stub.requests), asked)
        server.start()
        await self.counters(gateway, True)
        for crowd in shut:
            self.assertEqual({one.status for one in await crowd.ask(ROUTES, WHOLE, CENT)}, {200})

    async def counters(self, gateway: GatewayProcess, available: bool) -> None:
        """Wait until the gateway says so; it is ready in either case."""
        while await self.seen(gateway) != (available, [] if available else ["counters"]):
            await deferLater(self.reactor, LOOK_S)

    async def seen(self, gateway: GatewayProcess) -> tuple[bool, list[str]]:
        """What its metrics and `/ready` say."""
        _, page = await fetch(self.reactor, f"{gateway.control_url}/metrics")
        status, body = await fetch(self.reactor, f"{gateway.control_url}/ready")
        ready: dict[str, Any] = json.loads(body)
        self.assertEqual(status, 200, ready)
        return b'aigw_state_available{store="counters"} 1.0' in page, ready.get("degraded", [])
