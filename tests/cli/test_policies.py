"""`aigw policy`."""

from __future__ import annotations

import json

from tests.cli import CommandTestCase

CREATE = ("policy", "create", "--name", "engineers", "--actor", "team:engineering", "--condition", "has(cf.user.id)")


class PolicyTests(CommandTestCase):
    async def test_draft_to_commit(self) -> None:
        """A policy is drafted, seen among the drafts, put in force, changed and ended."""
        control = self.start()
        made = await self.run_aigw(*CREATE, "--action", "5/daily", "--resource", '{"model": "gpt-*"}')
        self.assertEqual(made.out, "policy-1 is a draft; put it in force with `aigw policy commit`.\n", made.err)
        self.assertEqual((await self.run_aigw("policy", "list", "--json")).objects(), [])
        self.assertIn("engineers", (await self.run_aigw("policy", "list", "--drafts")).out)
        self.assertEqual((await self.run_aigw("policy", "commit")).out, "1 committed, 0 failed.\n")
        changed = await self.run_aigw("policy", "update", "policy-1", "--action", "block", "--commit")
        self.assertEqual(changed.out, "policy-1 is in force.\n")
        (shown,) = (await self.run_aigw("policy", "show", "policy-1", "--json")).objects()
        self.assertEqual((shown["action"], shown["resource"]), ({"type": "block"}, {"model": "gpt-*"}))
        stored = control.policies.find("local", "default")
        assert stored is not None
        self.assertTrue(stored.value.any)
        self.assertIn("gone", (await self.run_aigw("policy", "delete", "policy-1")).out)
        self.assertEqual((await self.run_aigw("policy", "list", "--json")).objects(), [])

    async def test_from_a_file(self) -> None:
        """A policy in a file is taken as it stands; what the options say goes before it."""
        self.start()
        fields = {"name": "all", "actor": "a", "resource": "*", "condition": "true", "action": {"type": "no-limit"}}
        (self.folder / "policy.json").write_text(json.dumps(fields))
        ran = await self.run_aigw("policy", "create", "--file", "policy.json", "--name", "mine", "--json")
        (made,) = ran.objects()
        self.assertEqual({key: made["result"][key] for key in fields}, {**fields, "name": "mine"})
        missing = await self.run_aigw("policy", "create", "--file", "nowhere.json")
        self.assertEqual((missing.code, missing.out), (1, ""))
        self.assertIn("nowhere.json", missing.err)

    async def test_simulate(self) -> None:
        """What would come of a request, with an exit code for scripts."""
        self.start()
        await self.run_aigw(*CREATE, "--action", "5/daily", "--commit")
        ask = ("policy", "simulate", "--provider", "openai", "--model", "gpt-4o", "--json")
        nobody = await self.run_aigw(*ask)
        self.assertEqual((nobody.code, nobody.objects()[0]["enforcement"]["reason"]), (1, "blocked"))
        alice = ("--cf", '{"user": {"id": "alice"}}')
        self.assertEqual((await self.run_aigw(*ask, *alice, "--spent", "engineers=1")).code, 0)
        spent = (await self.run_aigw(*ask, *alice, "--spent", "engineers=5")).objects()[0]["enforcement"]
        self.assertEqual((spent["reason"], spent["bucket"]), ("limit_exceeded", "team:engineering"))

    async def test_refusals(self) -> None:
        """A mistake in a condition is told with its place; a mistyped gateway or policy is told, too."""
        self.start()
        ran = await self.run_aigw(*CREATE, "--action", "no-limit", "--condition", "1 +")
        self.assertEqual(ran.code, 1)
        self.assertIn("condition: line 1, column 4", ran.err)
        ran = await self.run_aigw("policy", "list", "--gateway", "typo", "--json")
        self.assertEqual(ran.error()["code"], "no-such-gateway")
        self.assertEqual((await self.run_aigw("policy", "list", "--gateway", "a/b")).code, 1)
        ran = await self.run_aigw("policy", "delete", "no/body", "--json")
        self.assertEqual(ran.error()["code"], "no-such-policy")

    async def test_wrong_usage(self) -> None:
        """An action or a budget that cannot be is a wrong command line: exit code 2."""
        for wrong in (["--action", "deny"], ["--action", "much/daily"], ["--resource", "gpt-4o"]):
            self.assertEqual((await self.run_aigw(*CREATE, *wrong)).code, 2)
        ask = ("policy", "simulate", "--provider", "openai", "--model", "gpt-4o")
        for wrong in (["--spent", "5"], ["--spent", "=5"], ["--cf", "[]"], ["--metadata", "{"]):
            self.assertEqual((await self.run_aigw(*ask, *wrong)).code, 2)
