"""`aigw token`."""

from __future__ import annotations

from aigw.values.ids import id_text
from tests.cli import CommandTestCase
from tests.management.control import LOG_IDS, NOW_MS


class TokenTests(CommandTestCase):
    async def test_create(self) -> None:
        """The token is alone on standard output, so that a script can catch it, and it opens the gateway."""
        control = self.start()
        ran = await self.run_aigw("token", "create", "--name", "ci")
        token = control.tokens.verify(ran.out.strip(), "local", "default", "run", NOW_MS)
        assert token is not None
        self.assertEqual((token.name, token.scopes, ran.code), ("ci", {"run"}, 0))
        self.assertIn("not shown again", ran.err)

    async def test_create_as_json(self) -> None:
        """A program gets one object with the token and all about it."""
        self.start()
        ran = await self.run_aigw(
            "token", "create", "--json", "--scope", "run", "--scope", "edit", "--expires-in", "1d", "--gateway", "g"
        )
        (made,) = ran.objects()
        self.assertTrue(made["token"].startswith("aigw_"))
        self.assertEqual((made["scopes"], made["gateway"]), (["edit", "run"], "g"))
        self.assertEqual(made["expires_at"], "2027-01-16T08:00:00.000Z")

    async def test_bounds(self) -> None:
        """A token is bound to a team, a person, models, providers, pages, rates and budgets by options."""
        control = self.start()
        await self.run_aigw("team", "create", "red")
        options = ["--team", "red", "--user", "ada", "--model", "gpt-*", "--model", "o3", "--provider", "openai"]
        options += [
            "--origin",
            "https://app.example",
            "--rate",
            "100/60s",
            "--budget",
            "5.5/30d",
            "--lock",
            "cache-ttl",
        ]
        options += ["--limit", '{"limit": 9, "window": 60, "unit": "tokens", "per": ["model"]}']
        ran = await self.run_aigw("token", "create", *options)
        self.assertEqual((ran.code, ran.err.count("\n")), (0, 1), ran.err)
        (token,) = control.tokens.all()
        self.assertEqual((token.team, token.user), ("red", "ada"))
        bounds = token.bounds
        self.assertEqual((bounds.models, bounds.providers), (("gpt-*", "o3"), ("openai",)))
        self.assertEqual((bounds.origins, bounds.locked), (("https://app.example",), ("cache-ttl",)))
        limits = [(rule.limit, rule.window, rule.unit, rule.per) for rule in bounds.limits]
        self.assertEqual(limits[:2], [(100, 60, "requests", ()), (5.5, 2_592_000, "usd", ())])
        self.assertEqual(limits[2], (9, 60, "tokens", ("model",)))

    async def test_wrong_bounds(self) -> None:
        """What a token cannot be bound to is told with the path of the field, and no token is made."""
        control = self.start()
        for options, path in (
            (["--team", "blue"], "team: there is no team `blue`"),
            (["--limit", '{"limit": 0, "window": 60}'], "bounds.limits[0].limit: expected"),
            (["--limit", '{"limit": 1, "windo": 60}'], "bounds.limits[0].windo: no such key; did you mean"),
            (["--rate", "1.5/60s"], "bounds.limits[0].limit: expected a whole number"),
            (["--origin", "app.example"], "bounds.origins[0]: expected an origin"),
            (["--model", "a b"], "bounds.models[0]: expected a name"),
            (["--lock", "cache-tlt"], "bounds.locked[0]: expected"),
        ):
            ran = await self.run_aigw("token", "create", *options)
            self.assertEqual(ran.code, 1, options)
            self.assertIn(path, ran.err)
        self.assertEqual(control.tokens.all(), [])

    async def test_revoking_a_minted_token(self) -> None:
        """A minted token, of which the gateway keeps nothing, is ended by the id that logs show."""
        control = self.start()
        parent = (await control.call("POST", "/v1/tokens", {}))["id"]
        minted = f"{parent}.0123456789abcdef"
        self.assertEqual((await self.run_aigw("token", "revoke", minted)).out, f"{minted} is revoked.\n")
        self.assertEqual((await self.run_aigw("token", "revoke", "tok_" + "0" * 16 + ".0123456789abcdef")).code, 1)

    async def test_list_and_revoke(self) -> None:
        """Tokens are listed by name and state, and end when they are revoked."""
        control = self.start()
        made = (await control.call("POST", "/v1/tokens", {"name": "laptop"}))["id"]
        before = await self.run_aigw("token", "list")
        self.assertIn("laptop", before.out)
        self.assertIn("in force", before.out)
        self.assertEqual((await self.run_aigw("token", "revoke", made)).out, f"{made} is revoked.\n")
        (listed,) = (await self.run_aigw("token", "list", "--json")).objects()
        self.assertEqual((listed["id"], listed["state"]), (made, "revoked"))

    async def test_refusals(self) -> None:
        """What cannot be done is told on standard error, as JSON where that was asked for, with exit code 1."""
        self.start()
        ran = await self.run_aigw("token", "revoke", "tok_no/body", "--json")
        self.assertEqual((ran.out, ran.code, ran.error()["code"]), ("", 1, "no-such-token"))
        plain = await self.run_aigw("token", "revoke", "tok_nobody")
        self.assertEqual(plain.err, "aigw: There is no token `tok_nobody`; see `aigw token list`\n")

    async def test_wrong_usage(self) -> None:
        """A scope or a duration that does not exist is a wrong command line: exit code 2."""
        for wrong in (
            *(["--scope", "admin"], ["--expires-in", "soon"], ["--expires-in", "0d"]),
            *(["--rate", "100"], ["--rate", "0/1s"], ["--budget", "much/1d"], ["--limit", "10"]),
        ):
            self.assertEqual((await self.run_aigw("token", "create", *wrong)).code, 2)


class FindingTests(CommandTestCase):
    async def test_not_running(self) -> None:
        """Without a gateway, every verb says how to start one and exits with 3."""
        for verb in (["token", "list"], ["logs", "list"], ["chat", "hello"]):
            ran = await self.run_aigw(*verb)
            self.assertEqual((ran.out, ran.code), ("", 3))
            self.assertIn(f"twistd --nodaemon aigateway --data-dir {self.data_dir}", ran.err)
        ran = await self.run_aigw("--json", "logs", "show", id_text(LOG_IDS[0]))
        self.assertEqual((ran.error()["code"], ran.code), ("not-running", 3))

    async def test_where_the_gateway_is(self) -> None:
        """The data folder is found by option, before or after the verb, by variable, or by settings file."""
        elsewhere = self.folder / "elsewhere"
        self.start(elsewhere)
        (self.folder / "aigw.toml").write_text('data_dir = "elsewhere"')
        for arguments in (
            ["--data-dir", "elsewhere", "token", "list"],
            ["token", "list", "--data-dir", str(elsewhere)],
            ["token", "list", "--config", "aigw.toml"],
            ["token", "create", "--gateway", "default", "--config", "aigw.toml"],
        ):
            ran = await self.run_aigw(*arguments)
            self.assertEqual((ran.code, arguments), (0, arguments), ran.err)
        self.assertEqual((await self.run_aigw("token", "list", AIGW_DATA_DIR="elsewhere")).code, 0)
        self.assertEqual((await self.run_aigw("token", "list", AIGW_CONFIG="aigw.toml")).code, 0)
