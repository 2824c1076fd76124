from __future__ import annotations

import json
from typing import Any

from twisted.internet.threads import deferToThread
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.clients import ClientTestCase, sandbox_request, streamed_text

REQUESTS = 60


class WebsocketsTests(ClientTestCase):
    """The Python package `websockets`, in a thread of its own."""

    def connection(self, token: str) -> ClientConnection:
        """An open socket; blocks."""
        return connect(self.gateway.url, additional_headers={"cf-aig-authorization": f"Bearer {token}"})

    def talk(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send requests at once and gather messages until each has ended; blocks."""
        received = []
        running = len(requests)
        with self.connection(self.gateway.token) as socket:
            for request in requests:
                socket.send(json.dumps(request))
            while running:
                received.append(message := json.loads(socket.recv(timeout=60)))
                whole = message["type"] == "universal.created" and "response" in message
                running -= whole or message["type"] == "universal.done"
        return received

    async def test_stream(self) -> None:
        """An answer streams from its beginning to its end, and names its row in the log."""
        messages = await deferToThread(self.talk, [sandbox_request("one", "so it goes", stream=True)])
        self.assertEqual(messages[0]["type"], "universal.created")
        self.assertEqual(messages[0]["metadata"]["contentType"].partition(";")[0], "text/event-stream")
        self.assertEqual(streamed_text(messages), "so it goes")
        self.assertEqual(messages[-1]["type"], "universal.done")
        self.assertEqual(messages[-1]["metadata"]["logId"], messages[0]["metadata"]["logId"])

    async def test_many_in_flight(self) -> None:
        """Many requests on one socket, streaming and not, all come back right, each under its own event id."""
        requests = [sandbox_request(f"id-{n}", f"this is {n}", stream=n % 2 == 0) for n in range(REQUESTS)]
        messages = await deferToThread(self.talk, requests)
        for n in range(REQUESTS):
            own = [message for message in messages if message["metadata"]["eventId"] == f"id-{n}"]
            text = streamed_text(own) if n % 2 == 0 else own[0]["response"]["choices"][0]["message"]["content"]
            self.assertEqual(text, f"this is {n}")
        self.assertEqual(len({m["metadata"]["logId"] for m in messages if "logId" in m["metadata"]}), REQUESTS)

    async def test_bad_message_harms_nobody(self) -> None:
        """A message that is no request gets an error under its event id; the socket and its neighbour live on."""
        bad = {"type": "universal.create", "request": {"eventId": "bad", "endpoint": "x", "query": {}}}
        messages = await deferToThread(self.talk, [bad, sandbox_request("good", "still here")])
        by_id = {message["metadata"]["eventId"]: message["response"] for message in messages}
        self.assertEqual(by_id["bad"]["error"][0]["code"], 4002)
        self.assertEqual(by_id["good"]["choices"][0]["message"]["content"], "still here")

    async def test_wrong_token(self) -> None:
        """A wrong token is refused in the handshake, with the error's body."""
        refusal = await self.assertFailure(deferToThread(self.connection, "aigw_wrong"), InvalidStatus)
        self.assertEqual(refusal.response.status_code, 401)
        self.assertEqual(json.loads(refusal.response.body)["error"][0]["code"], 2009)
