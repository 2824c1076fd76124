"""Realtime sessions under a budget that two processes count together."""

from __future__ import annotations

from aigw.testing.gateway import GatewayProcess
from aigw.testing.realtime import ScriptedRealtime, script
from aigw.testing.realtime_client import RealtimeClient, connect_realtime
from aigw.testing.redis import RedisServer
from tests.integration import IntegrationTestCase
from tests.integration.limits import YEAR_S

# 3.12 cents by OpenAI's price list: 4 and 16 dollars a million tokens of text, 64 of sound that was made.
USAGE = {"input_tokens": 1000, "output_tokens": 500, "output_token_details": {"audio_tokens": 400}}
TURN_NANOUSD = 31_200_000
TURN = {"type": "response.create"}
ANSWERS: dict[str, list[object]] = {"response.create": [{"type": "response.done", "response": {"usage": USAGE}}]}
# Room for two turns, and for what is held for a session that is open; the third is the last.
GATEWAY = f"""
[[gateway]]
id = "default"

[[gateway.spend_limits.rules]]
id = "talk"
limit = 0.085
limitType = "cost"
window = {YEAR_S}
"""


class SharedBudgetTests(IntegrationTestCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.vendor = ScriptedRealtime(self.reactor)
        await self.vendor.start()
        self.addCleanup(self.vendor.close)
        self.vendor.on_message = script(ANSWERS)
        self.config = f'[providers.openai]\nbase_url = "{self.vendor.url}/v1"\n{GATEWAY}'

    async def session(self, gateway: GatewayProcess) -> RealtimeClient:
        """A session, opened or refused."""
        headers = {"cf-aig-authorization": f"Bearer {gateway.token}", "authorization": "Bearer sk-fake"}
        client = await connect_realtime(self.reactor, f"{gateway.url}/openai?model=gpt-realtime", headers)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def test_turns(self) -> None:
        """
        Two people talk by two processes. The turn that uses up what the other has left is answered, and the last; after
        it neither process opens a session.
        """
        server = RedisServer()
        server.start()
        self.addCleanup(server.stop)
        self.config += f'[state]\nstore = "redis"\nredis = "{server.url}"\ndeadline_s = 20\n'
        first = await self.start()
        self.data_dir = self.data_dir.parent / "second"
        second = await self.start()
        here, there = await self.session(first), await self.session(second)
        self.assertEqual((here.status, there.status), (101, 101))
        for turns in (1, 2):
            here.say(TURN)
            await here.when_received(turns)
        here.close(1000)
        # Its row is written behind its turns.
        await self.when_rows(1)
        self.assertFalse(there.gone)
        there.say(TURN)
        await there.when(lambda: there.gone)
        self.assertEqual((len(there.received), there.closed_with and there.closed_with[0]), (1, 1008))
        for gateway in (first, second):
            refused = await self.session(gateway)
            self.assertEqual(refused.status, 429)
            self.assertIn(b"'talk'", refused.refusal)
        self.assertEqual(len(self.vendor.asked), 2)
        rows = await self.when_rows(4, "error_code, cost_nanousd")
        spent = [(0, 2 * TURN_NANOUSD), (2045, TURN_NANOUSD), (2045, None), (2045, None)]
        self.assertCountEqual(rows, spent)
