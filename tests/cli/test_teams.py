"""`aigw team`."""

from __future__ import annotations

from typing import Any

from tests.cli import CommandTestCase


class TeamTests(CommandTestCase):
    async def shown(self, *arguments: str) -> dict[str, Any]:
        ran = await self.run_aigw("team", *arguments, "--json")
        self.assertEqual((ran.code, ran.err), (0, ""))
        (team,) = ran.objects()
        assert isinstance(team, dict)
        return team

    async def test_a_life(self) -> None:
        """A team is made, shown, changed piece by piece, listed and deleted."""
        self.start()
        made = await self.shown("create", "red", "--member", "ada@example.com", "--budget", "5/30d", "--model", "gpt-*")
        budget = {"limit": 5.0, "window": 2_592_000, "unit": "usd"}
        self.assertEqual(made["members"], ["ada@example.com"])
        self.assertEqual(made["bounds"], {"models": ["gpt-*"], "limits": [budget]})
        self.assertEqual(await self.shown("show", "red"), made)
        changed = await self.shown("set", "red", "--add-member", "bob", "--remove-member", "ADA@example.com")
        self.assertEqual((changed["members"], changed["bounds"]), (["bob"], made["bounds"]))
        changed = await self.shown("set", "red", "--provider", "openai", "--clear", "models")
        self.assertEqual(changed["bounds"], {"providers": ["openai"], "limits": [budget]})
        self.assertIn("red", (await self.run_aigw("team", "list")).out)
        self.assertEqual((await self.run_aigw("team", "delete", "red")).out, "red is deleted.\n")
        self.assertEqual((await self.run_aigw("team", "show", "red")).code, 1)

    async def test_tokens_keep_a_team(self) -> None:
        """A team whose tokens are in use is not deleted by mistake."""
        control = self.start()
        await self.shown("create", "red")
        token = (await control.call("POST", "/v1/tokens", {"team": "red"}))["id"]
        ran = await self.run_aigw("team", "delete", "red")
        self.assertEqual(ran.code, 1)
        self.assertIn(token, ran.err)
        self.assertEqual((await self.run_aigw("team", "delete", "red", "--force")).code, 0)

    async def test_refusals(self) -> None:
        """What cannot be done is told, with the path of the field where there is one."""
        self.start()
        await self.shown("create", "red")
        for arguments, text in (
            (["create", "red"], "There is a team `red` already"),
            (["create", "r/d"], "name: expected"),
            (["set", "blue"], "There is no team `blue`"),
            (["set", "red", "--origin", "x"], "bounds.origins[0]: expected an origin"),
        ):
            ran = await self.run_aigw("team", *arguments)
            self.assertEqual(ran.code, 1)
            self.assertIn(text, ran.err)
