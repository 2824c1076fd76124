"""`aigw gateway`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli import CommandTestCase


class GatewayTests(CommandTestCase):
    async def test_create_and_set(self) -> None:
        """Fields are typed as people type them: numbers, flags, lists by commas, tables as JSON, null."""
        control = self.start()
        ran = await self.run_aigw("gateway", "create", "bot", "cache_ttl=300", "rate_limiting_technique=sliding")
        self.assertEqual((ran.code, ran.err), (0, ""))
        fields = ["locked=zdr,custom-cost", "authentication=no", "cache_ttl=null", "store_id=7"]
        fields.append('spend_limits={"rules": [{"limit": 5, "limitType": "cost", "window": 3600}]}')
        ran = await self.run_aigw("gateway", "set", "bot", *fields)
        self.assertEqual((ran.code, ran.err), (0, ""))
        gateway = control.gateways.find("local", "bot")
        assert gateway is not None and gateway.spend_limits is not None
        self.assertEqual((gateway.locked, gateway.authentication), (("zdr", "custom-cost"), False))
        self.assertEqual((gateway.cache_ttl, gateway.store_id), (None, "7"))
        self.assertEqual((gateway.rate_limiting_technique, gateway.spend_limits.rules[0].limit), ("sliding", 5))

    async def test_a_file_replaces_everything(self) -> None:
        """Settings out of a file stand in place of all those before; what was shown as JSON can be such a file."""
        control = self.start()
        await self.run_aigw("gateway", "create", "bot", "zdr=true", "cache_ttl=60")
        (shown,) = (await self.run_aigw("gateway", "show", "bot", "--json")).objects()
        file = Path(self.mktemp())
        file.write_text(json.dumps({**shown, "zdr": False}))
        ran = await self.run_aigw("gateway", "set", "bot", "--file", str(file.absolute()))
        self.assertEqual((ran.code, ran.err), (0, ""))
        file.write_text('{"collect_logs": false}')
        await self.run_aigw("gateway", "set", "bot", "cache_ttl=90", "--file", str(file.absolute()))
        gateway = control.gateways.find("local", "bot")
        assert gateway is not None
        self.assertEqual((gateway.collect_logs, gateway.zdr, gateway.cache_ttl), (False, False, 90))

    async def test_list_and_delete(self) -> None:
        """The list tells where each gateway comes from; a deleted one is in it no more."""
        self.start()
        await self.run_aigw("gateway", "create", "bot", "--account", "acme")
        ran = await self.run_aigw("gateway", "list")
        self.assertEqual(
            [line.split()[:3] for line in ran.out.splitlines()[1:]],
            [["bot", "acme", "stored"], ["default", "local", "default"], ["fixed", "local", "file"]],
        )
        ran = await self.run_aigw("gateway", "delete", "bot", "--account", "acme")
        self.assertEqual((ran.code, ran.out), (0, "bot is deleted.\n"))
        self.assertEqual(len((await self.run_aigw("gateway", "list", "--json")).objects()), 2)

    async def test_show(self) -> None:
        """People see a line for each field."""
        self.start()
        ran = await self.run_aigw("gateway", "show", "fixed")
        self.assertIn(["origin", "file"], [line.split() for line in ran.out.splitlines()])

    async def test_mistakes(self) -> None:
        """Each mistake is told by its field, with a hint at what may have been meant, and nothing is changed."""
        control = self.start()
        for arguments, told in (
            (["create", "bot", "cash_ttl=5"], "cash_ttl: no such key; did you mean `cache_ttl`?"),
            (["create", "bot", "cache_ttl=soon"], "cache_ttl: expected a whole number"),
            (["create", "bot", "authentication=maybe"], "authentication: expected true or false"),
            (["create", "bot", "spend_limits={"], "spend_limits: expected a table"),
            (["create", "bot", "cache_ttl"], "cache_ttl: expected KEY=VALUE"),
            (["create", "a b"], "id: expected text matching"),
            (["set", "fixed", "zdr=true"], "declared in the settings file"),
            (["set", "bot", "zdr=true"], "There is no gateway `bot`"),
            (["set", "fixed", "--file", "/nowhere.json"], "/nowhere.json: cannot be read"),
        ):
            ran = await self.run_aigw("gateway", *arguments)
            self.assertEqual(ran.code, 1, arguments)
            self.assertIn(told, ran.err)
        self.assertEqual(control.documents.all(), [])
