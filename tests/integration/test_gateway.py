from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from aigw.testing.provider import WAIT, Script, event_stream, json_answer
from tests.integration import IntegrationTestCase, fetch

REQUESTS = 200


class FirstStartTests(IntegrationTestCase):
    """What somebody sees who starts a gateway for the first time, with nothing prepared."""

    embedded = True

    async def test_greeting(self) -> None:
        """The start tells both addresses and a token once, and a line that streams an answer when it is pasted."""
        gateway = await self.start()
        self.assertRegex(gateway.output, r"applications +ws://127\.0\.0\.1:\d+/v1/local/default")
        self.assertRegex(gateway.output, r"operators +http://127\.0\.0\.1:\d+ ")
        self.assertEqual(len(re.findall("shown this once", gateway.output)), 1)
        line = next(line for line in gateway.output.splitlines() if " chat " in line)
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
        out, err, code = await getProcessOutputAndValue("/bin/sh", ["-c", line], {**os.environ, "PATH": path})
        self.assertEqual((code, err), (0, b""))
        self.assertIn(b"tides", out)
        (log,) = await self._logs_when(1)
        self.assertEqual(log["provider"], "sandbox")

    async def test_second_start(self) -> None:
        """A gateway that is started again shows no token, and knows the first one and the logs."""
        first = await self.start()
        client = await self.connect(first)
        client.ask("before")
        await client.ending("before")
        self.assertEqual(await first.stop(), 0)
        second = await self.start()
        self.assertNotIn("shown this once", second.output)
        client = await self.connect(second)
        client.ask("after")
        await client.ending("after")
        self.assertEqual([log["event_id"] for log in await self._logs_when(2)], ["after", "before"])

    async def _logs_when(self, count: int) -> list[dict[str, Any]]:
        # Each look is a process of its own, so this does not spin.
        while len(logs := await self.logs()) < count:
            pass
        return logs


class GatewayTests(IntegrationTestCase):
    """A running gateway."""

    async def test_wrong_token(self) -> None:
        """A wrong token, or none, is answered with 401 and the error as JSON."""
        gateway = await self.start()
        url = gateway.url.replace("ws://", "http://").encode()
        for token in (None, b"Bearer aigw_wrong"):
            headers = Headers({b"connection": [b"upgrade"], b"upgrade": [b"websocket"]})
            headers.addRawHeader(b"sec-websocket-version", b"13")
            headers.addRawHeader(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
            if token:
                headers.addRawHeader(b"cf-aig-authorization", token)
            answer = await Agent(self.reactor).request(b"GET", url, headers)
            self.assertEqual(answer.code, 401)
            self.assertEqual(json.loads(await readBody(answer))["error"][0]["code"], 2009)

    async def test_node_that_joins(self) -> None:
        """A second gateway on the same database takes the tokens that are there, and prints none of its own."""
        first = await self.start()
        self.assertIn("shown this once", first.output)
        self.data_dir = self.data_dir.parent / "second"
        second = await self.start()
        self.assertNotIn("shown this once", second.output)
        client = await self.connect(second)
        client.ask("here too")
        await client.ending("here too")

    async def test_two_hundred_in_flight(self) -> None:
        """200 requests for three providers, in flight at once on one socket, all come back right and are logged."""
        provider = await self.provider()
        self.config = "".join(
            f'[providers.{slug}]\nbase_url = "{provider.url}/{slug}"\n' for slug in ("openai", "custom-stub")
        )
        gateway = await self.start()
        client = await self.connect(gateway)
        asked = {f"id-{n}": ("sandbox", "openai", "custom-stub")[n % 3] for n in range(REQUESTS)}
        for n, (event_id, slug) in enumerate(asked.items()):
            provider.on(event_id, _held_answer(event_id, stream=n % 2 == 0))
            client.ask(event_id, slug, model="slow-300" if slug == "sandbox" else event_id, stream=n % 2 == 0)
        await provider.when_requested(sum(slug != "sandbox" for slug in asked.values()))
        for seen in list(provider.requests):
            provider.go(seen.id)
        for event_id in asked:
            await client.ending(event_id)
            self.assertEqual(_text(client.messages[event_id]), event_id)
        await self.when_rows(REQUESTS)
        logs = await self.logs()
        self.assertEqual({log["event_id"]: log["provider"] for log in logs}, asked)
        for log in logs:
            self.assertTrue(log["success"], log)
            self.assertGreater(log["tokens_in"], 0, log)
            self.assertGreater(log["tokens_out"], 0, log)
            if log["provider"] == "custom-stub":
                # Nobody knows what a provider of one's own charges, and an unknown price is never 0.
                self.assertIsNone(log["cost"], log)
            else:
                self.assertGreater(log["cost"], 0, log)

    async def test_show(self) -> None:
        """`aigw logs show` has the bodies, as the provider got and gave them."""
        gateway = await self.start()
        client = await self.connect(gateway)
        client.ask("to be shown")
        log_id = (await client.ending("to be shown"))["metadata"]["logId"]
        await self.when_rows(1)
        log = json.loads(await self.aigw("logs", "show", log_id, "--json"))
        self.assertEqual(log["id"], log_id)
        self.assertIn("to be shown", json.dumps(log["request"]))
        self.assertIn("to be shown", json.dumps(log["response"]))

    async def test_control_port(self) -> None:
        """Health, readiness and metrics are there; no token is in them."""
        gateway = await self.start()
        client = await self.connect(gateway)
        client.ask("counted")
        await client.ending("counted")
        for path in ("health", "ready"):
            status, _ = await fetch(self.reactor, f"{gateway.control_url}/{path}")
            self.assertEqual(status, 200)
        status, page = await fetch(self.reactor, f"{gateway.control_url}/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b'aigw_exchanges_total{provider="sandbox",status="2xx"} 1.0', page)
        self.assertNotIn(gateway.token.encode(), page)


def _held_answer(text: str, stream: bool) -> Script:
    """An answer of a priced model in OpenAI's form, held back until the test lets it go."""
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    common = {"id": "chatcmpl-1", "model": "gpt-4o-mini"}
    if stream:
        chunk = {**common, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
        last = {**common, "choices": [], "usage": usage}
        events = [f"data: {json.dumps(event)}\n\n".encode() for event in (chunk, last)]
        return event_stream(WAIT, *events, b"data: [DONE]\n\n")
    message = {"role": "assistant", "content": text}
    body = {**common, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    return (WAIT, *json_answer(body))


def _text(messages: list[dict[str, Any]]) -> str:
    """The text of an answer, streamed or whole."""
    choices = [choice for each in messages for choice in each.get("response", {}).get("choices", ())]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    return "".join(part.get("content") or "" for part in parts)
