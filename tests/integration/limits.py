"""Gateways with limits, and the provider behind them."""

from __future__ import annotations

from typing import Any

from aigw.testing.gateway import GatewayProcess
from aigw.testing.provider import WAIT, ScriptedProvider, event_stream, json_answer
from tests.integration import IntegrationTestCase

# No window of this length ends while a test runs.
YEAR_S = 31_536_000
ROOM = 10
CENT_NANOUSD = 10_000_000
MESSAGES = [{"role": "user", "content": "Hello"}]
WHOLE: dict[str, Any] = {"model": "whole", "messages": MESSAGES}
STREAM: dict[str, Any] = {"model": "held", "messages": MESSAGES, "stream": True}
CENT = {"cf-aig-custom-cost": '{"total_cost": 0.01}'}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
PIECE = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'
END = b"data: [DONE]\n\n"
GATEWAYS = f"""
[[gateway]]
id = "fixed"
rate_limiting_limit = {ROOM}
rate_limiting_interval = {YEAR_S}

[[gateway]]
id = "sliding"
rate_limiting_limit = {ROOM}
rate_limiting_interval = {YEAR_S}
rate_limiting_technique = "sliding"

[[gateway]]
id = "budget"

[[gateway.spend_limits.rules]]
id = "ten-cents"
limit = {ROOM / 100}
limitType = "cost"
window = {YEAR_S}
"""


class LimitCase(IntegrationTestCase):
    """
    Attributes:
        stub: The provider of all requests.
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.stub: ScriptedProvider = await self.provider()
        self.stub.on("whole", json_answer({"model": "whole", "choices": [], "usage": USAGE}))
        self.stub.on("held", event_stream(PIECE, WAIT, END))
        self.config = f'[providers.custom-stub]\nbase_url = "{self.stub.url}"\n{GATEWAYS}'

    async def second(self) -> GatewayProcess:
        """One more process, on a folder of its own and the same database."""
        self.data_dir = self.data_dir.parent / "second"
        return await self.start()

    async def spent(self) -> int:
        """What the ledger says of the only budget, in billionths of a dollar."""
        return sum(amount for (amount,) in await self.query("SELECT amount FROM spend_ledger"))
