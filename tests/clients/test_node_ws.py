from __future__ import annotations

import json
from typing import Any

from tests.clients import FOLDER, ClientTestCase, missing_for_node, sandbox_request, streamed_text


class NodeWsTests(ClientTestCase):
    """Node's `ws`, the client of most JavaScript programs."""

    skip = missing_for_node()

    async def talk(self, **plan: Any) -> list[dict[str, Any]]:
        """What the client of `node_ws.mjs` prints."""
        return await self.node(FOLDER / "node_ws.mjs", json.dumps({"url": self.gateway.url, **plan}))

    async def test_token_in_a_header(self) -> None:
        """With the token in a header, an answer streams, from its beginning to its end."""
        opened, *answer, closed = await self.talk(
            headers={"cf-aig-authorization": f"Bearer {self.gateway.token}"},
            messages=[sandbox_request("one", "to be or not to be", stream=True)],
        )
        self.assertEqual(opened, {"open": {"protocol": ""}})
        messages = [line["message"] for line in answer]
        self.assertEqual(messages[0]["type"], "universal.created")
        self.assertEqual(streamed_text(messages), "to be or not to be")
        self.assertEqual(messages[-1]["type"], "universal.done")
        self.assertTrue(messages[-1]["metadata"]["complete"])
        self.assertEqual({message["metadata"]["eventId"] for message in messages}, {"one"})
        self.assertEqual(closed["close"]["code"], 1000)

    async def test_token_as_subprotocol(self) -> None:
        """With the token offered as a subprotocol, as a page has to, the handshake selects it and requests work."""
        offered = f"cf-aig-authorization.{self.gateway.token}"
        opened, answer, _ = await self.talk(protocols=[offered], messages=[sandbox_request("one", "hello")])
        self.assertEqual(opened, {"open": {"protocol": offered}})
        self.assertEqual(answer["message"]["response"]["choices"][0]["message"]["content"], "hello")

    async def test_public_subprotocol_is_preferred(self) -> None:
        """Where something else than the token is offered, that is selected, and no token stands in the answer."""
        offered = ["realtime", f"cf-aig-authorization.{self.gateway.token}"]
        opened, *_ = await self.talk(protocols=offered, messages=[sandbox_request("one", "hello")])
        self.assertEqual(opened, {"open": {"protocol": "realtime"}})

    async def test_wrong_token(self) -> None:
        """A wrong token is refused in the handshake, with the error's body."""
        first, *_ = await self.talk(headers={"cf-aig-authorization": "Bearer aigw_wrong"})
        self.assertEqual(first["refused"]["status"], 401)
        self.assertEqual(json.loads(first["refused"]["body"])["error"][0]["code"], 2009)
