"""Gateways that are changed while processes serve them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aigw.testing.gateway import GatewayProcess
from tests.integration import IntegrationTestCase
from tests.integration.client import Client, connect

# Nobody listens there.
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"


class GatewaysTests(IntegrationTestCase):
    async def client_of(self, gateway: GatewayProcess, name: str) -> Client:
        """A client of one gateway of a process, gone with the test."""
        client = await connect(self.reactor, gateway.url.replace("/default", f"/{name}"), gateway.token)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def shown(self, name: str) -> dict[str, Any]:
        """A gateway, as the process on the present data folder has it."""
        gateway: dict[str, Any] = json.loads(await self.aigw("gateway", "show", name, "--json"))
        return gateway

    async def test_a_change_reaches_every_process(self) -> None:
        """What an owner sets on one process holds on another for the next request of a socket that is open there."""
        first_dir = self.data_dir
        await self.start()
        await self.aigw("gateway", "create", "bot")
        self.data_dir = first_dir.parent / "second"
        second = await self.start()
        while "bot" not in await self.aigw("gateway", "list"):
            pass  # Each look is a process of its own, so this does not spin.
        client = await self.client_of(second, "bot")
        client.ask("before")
        await client.ending("before")
        self.data_dir = first_dir
        changed = json.loads(await self.aigw("gateway", "set", "bot", "collect_logs=false", "--json"))
        self.data_dir = first_dir.parent / "second"
        while (await self.shown("bot"))["version"] != changed["version"]:
            pass
        client.ask("unlogged")
        await client.ending("unlogged")
        self.data_dir = first_dir
        await self.aigw("gateway", "set", "bot", "collect_logs=true")
        self.data_dir = first_dir.parent / "second"
        while not (await self.shown("bot"))["collect_logs"]:
            pass
        client.ask("after")
        await client.ending("after")
        self.assertEqual([row[0] for row in await self.when_rows(2)], ["before", "after"])

    async def test_a_start_without_database(self) -> None:
        """A process that is started during an outage of the database serves the gateways that were stored before."""
        first = await self.start()
        await self.aigw("gateway", "create", "bot", "locked=zdr")
        await first.stop()
        self.dsn = NO_DATABASE
        second = await self.start()
        self.assertEqual((await self.shown("bot"))["locked"], ["zdr"])
        client = await self.client_of(second, "bot")
        client.ask("served")
        await client.ending("served")
        with self.assertRaises(self.failureException) as caught:
            await self.aigw("gateway", "set", "bot", "locked=backoff")
        self.assertIn("nothing can be changed", str(caught.exception))

    async def test_the_settings_file_wins(self) -> None:
        """A gateway that is stored, and then declared in the file, is as the file says, and the start says so."""
        first = await self.start()
        await self.aigw("gateway", "create", "bot", "cache_ttl=60")
        await first.stop()
        self.config = '[[gateway]]\nid = "bot"\ncache_ttl = 90\n'
        second = await self.start()
        shown = await self.shown("bot")
        self.assertEqual((shown["origin"], shown["cache_ttl"]), ("file", 90))
        self.assertIn("The settings file wins over what is stored for the gateway local/bot", second.output)
        self.assertIn("stored in vain", await self.aigw("doctor"))

    async def test_the_default_gateway_is_stored(self) -> None:
        """The first request with a token stores `default`, and its owner can see since when."""
        gateway = await self.start()
        self.assertEqual((await self.shown("default"))["origin"], "default")
        client = await self.connect(gateway)
        client.ask("first")
        await client.ending("first")
        while (await self.shown("default"))["origin"] != "stored":
            pass
        self.assertTrue((await self.shown("default"))["created_at"])
        await self.until(Path(self.data_dir, "gateway.json").exists)
