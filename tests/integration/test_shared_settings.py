"""What an owner changes on one process, and who is open on another."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import deferLater

from aigw.testing.realtime import ScriptedRealtime
from aigw.testing.realtime_client import RealtimeClient, connect_realtime
from tests.integration import LOOK_S, IntegrationTestCase
from tests.integration.client import Client, connect

UNAUTHORIZED, NOT_ALLOWED, RATE_LIMITED = 2009, 4063, 2003
POLICY = 1008


class TwoProcessesCase(IntegrationTestCase):
    """
    Two processes that share a database. The owner sits at the first.

    Attributes:
        other: The second, where the clients are.
    """

    async def both(self) -> None:
        """Start them."""
        here = self.data_dir
        first = await self.start()
        self.data_dir = here.parent / "second"
        self.other = await self.start()
        self.other.token = first.token
        self.data_dir = here

    async def socket(self, token: str, gateway: str = "default") -> Client:
        """Open a socket at the other process, which may still have to hear of token and gateway."""
        url = self.other.url.replace("/default", f"/{gateway}")
        while True:
            try:
                client = await connect(self.reactor, url, token)
                break
            except ConnectionError:
                await deferLater(self.reactor, LOOK_S)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def ask(self, client: Client, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """One request; its answer's only message."""
        event_id = f"ask-{len(client.messages)}"
        client.ask(event_id, headers=headers)
        return await client.ending(event_id)

    async def code(self, client: Client) -> int:
        """The gateway's error code for one request; 0 for none."""
        return int((await self.ask(client))["response"].get("internalCode", 0))

    async def until_code(self, client: Client, code: int) -> None:
        """Ask until the answer is this error; only this one and success are possible."""
        while (found := await self.code(client)) != code:
            self.assertEqual(found, 0)
            await deferLater(self.reactor, LOOK_S)


class SettingsTests(TwoProcessesCase):
    async def test_open_socket(self) -> None:
        """A socket on another process feels a new limit, a new lock, and that tokens are wanted from now on."""
        await self.both()
        await self.aigw("gateway", "create", "bot", "authentication=false")
        client = await self.socket("", "bot")
        self.assertEqual(await self.code(client), 0)
        await self.aigw("gateway", "set", "bot", "rate_limiting_limit=1", "rate_limiting_interval=31536000")
        await self.until_code(client, RATE_LIMITED)
        await self.aigw("gateway", "set", "bot", "rate_limiting_limit=0", "locked=skip-cache")
        while (await self.ask(client, {"cf-aig-skip-cache": "true"}))["metadata"].get("headers") != {
            "cf-aig-locked": "cf-aig-skip-cache"
        }:
            await deferLater(self.reactor, LOOK_S)
        await self.aigw("gateway", "set", "bot", "authentication=true")
        await self.until_code(client, UNAUTHORIZED)
        self.assertEqual(await client.closed(), POLICY)

    async def test_bounds_of_a_team(self) -> None:
        """A socket that is open on another process feels what its team is held to, and that it no longer is."""
        await self.both()
        await self.aigw("team", "create", "red")
        client = await self.socket((await self.aigw("token", "create", "--team", "red")).strip())
        self.assertEqual(await self.code(client), 0)
        await self.aigw("team", "set", "red", "--provider", "openai")
        await self.until_code(client, NOT_ALLOWED)
        await self.aigw("team", "set", "red", "--rate", "1/365d", "--clear", "providers")
        while await self.code(client) == NOT_ALLOWED:
            await deferLater(self.reactor, LOOK_S)
        await self.until_code(client, RATE_LIMITED)


class RevokedTests(TwoProcessesCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.vendor = ScriptedRealtime(self.reactor)
        await self.vendor.start()
        self.addCleanup(self.vendor.close)
        self.config = f'[providers.openai]\nbase_url = "{self.vendor.url}/v1"\n'

    async def session(self, token: str) -> RealtimeClient:
        """An open realtime session at the other process."""
        headers = {"cf-aig-authorization": f"Bearer {token}", "authorization": "Bearer sk-fake"}
        client = await connect_realtime(self.reactor, f"{self.other.url}/openai?model=gpt-realtime", headers)
        self.addCleanup(client.transport.abortConnection)
        self.assertEqual(client.status, 101)
        return client

    async def test_every_socket(self) -> None:
        """A token that is revoked at one process closes its sockets and sessions at another; those of others stay."""
        await self.both()
        made = json.loads(await self.aigw("token", "create", "--json"))
        lost, kept = await self.socket(made["token"]), await self.socket(self.other.token)
        lost_session, kept_session = await self.session(made["token"]), await self.session(self.other.token)
        await self.aigw("token", "revoke", made["id"])
        self.assertEqual(await lost.closed(), POLICY)
        await lost_session.when(lambda: lost_session.gone)
        self.assertEqual(lost_session.closed_with and lost_session.closed_with[0], POLICY)
        await self.vendor.when(lambda: self.vendor.sessions[0].gone)
        self.assertEqual(await self.code(kept), 0)
        self.assertFalse(kept_session.gone)
        self.assertFalse(self.vendor.sessions[1].gone)
