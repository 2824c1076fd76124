from __future__ import annotations

import json
from signal import SIGKILL, SIGTERM

from aigw.testing.gateway import GatewayProcess
from aigw.testing.realtime import RealtimePeer, ScriptedRealtime, script
from aigw.testing.realtime_client import RealtimeClient, connect_realtime
from tests.integration import IntegrationTestCase

DRAINED, INTERRUPTED = 4992, 4991
USAGE = {"input_tokens": 1000, "output_tokens": 500, "output_token_details": {"audio_tokens": 400}}
ANSWERS: dict[str, list[object]] = {
    "response.create": [
        {"type": "response.output_audio.delta", "delta": "A" * 64_000},
        {"type": "response.output_audio_transcript.done", "transcript": "Hello there."},
        {"type": "response.done", "response": {"usage": USAGE}},
    ]
}
COLUMNS = "status, error_code, success, tokens_in, tokens_out"


class RealtimeTests(IntegrationTestCase):
    """Realtime sessions through a gateway in a process of its own, logged in PostgreSQL."""

    async def setUp(self) -> None:
        await super().setUp()
        self.vendor = ScriptedRealtime(self.reactor)
        await self.vendor.start()
        self.addCleanup(self.vendor.close)
        self.vendor.on_message = script(ANSWERS)
        self.config = f'[providers.openai]\nbase_url = "{self.vendor.url}/v1"\n'

    async def session(self, gateway: GatewayProcess) -> tuple[RealtimeClient, RealtimePeer]:
        """Both ends of a session, after a turn."""
        headers = {"cf-aig-authorization": f"Bearer {gateway.token}", "authorization": "Bearer sk-fake"}
        client = await connect_realtime(self.reactor, f"{gateway.url}/openai?model=gpt-realtime", headers)
        self.addCleanup(client.transport.abortConnection)
        client.say({"type": "response.create"})
        await client.when_received(3)
        return client, self.vendor.sessions[-1]

    async def test_log(self) -> None:
        """`aigw logs show` tells what was said in a session, how much, how long, and what it cost."""
        gateway = await self.start()
        client, peer = await self.session(gateway)
        self.assertEqual(
            (peer.path, peer.headers["authorization"]), ("/v1/realtime?model=gpt-realtime", "Bearer sk-fake")
        )
        client.close(1000)
        await self.when_rows(1)
        log = json.loads(await self.aigw("logs", "show", "--json", client.headers["cf-aig-log-id"]))
        self.assertEqual((log["request_type"], log["provider"], log["model"]), ("realtime", "openai", "gpt-realtime"))
        self.assertEqual((log["status_code"], log["success"], log["error_code"]), (101, True, 0))
        self.assertEqual((log["tokens_in"], log["tokens_out"]), (1000, 500))
        # By OpenAI's price list: 4 and 16 USD a million tokens of text, 64 of sound that was made.
        self.assertAlmostEqual(log["cost"], 0.0312)
        self.assertEqual((log["session"]["turns"], log["session"]["audio_out_ms"]), (1, 1000))
        self.assertEqual((log["session"]["closed_by"], log["session"]["close_code"]), ("client", 1000))
        first = json.loads(log["response"]["text"].splitlines()[0])
        self.assertEqual((first["from"], first["transcript"]), ("provider", "Hello there."))
        self.assertNotIn("sk-fake", json.dumps(log))

    async def test_sigterm(self) -> None:
        """A session may go on while the gateway drains; at the end it is closed with 1001 on both sides, and logged."""
        self.options = ["--drain-s", "1"]
        gateway = await self.start()
        client, peer = await self.session(gateway)
        gateway.signal(SIGTERM)
        client.say({"type": "response.create"})
        await client.when_received(6)
        await client.when(lambda: client.gone)
        await self.vendor.when(lambda: peer.gone)
        self.assertEqual((client.closed_with[0], peer.closed_with[0]), (1001, 1001))  # type: ignore[index]  # both said it
        self.assertEqual(await gateway.ended(), 0)
        self.assertEqual(await self.rows(COLUMNS), [(101, DRAINED, False, 2000, 1000)])

    async def test_sigkill(self) -> None:
        """A session whose gateway is killed leaves a row, too."""
        gateway = await self.start()
        _, peer = await self.session(gateway)
        gateway.signal(SIGKILL)
        await self.vendor.when(lambda: peer.gone)
        await gateway.ended()
        await self.start()
        self.assertEqual(await self.when_rows(1, "error_code, success"), [(INTERRUPTED, False)])
