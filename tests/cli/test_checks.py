"""`aigw check-config` and `aigw doctor`."""

from __future__ import annotations

from tests.cli import CommandTestCase


class CheckConfigTests(CommandTestCase):
    async def test_a_good_file(self) -> None:
        """Good settings are called so, with the folder that they lead to."""
        (self.folder / "aigw.toml").write_text('data_dir = "data"')
        self.assertEqual((await self.run_aigw("check-config", "--config", "aigw.toml")).code, 0)
        (found,) = (await self.run_aigw("check-config", "--config", "aigw.toml", "--json")).objects()
        self.assertEqual(found, {"ok": True, "data_dir": str(self.folder / "data")})

    async def test_a_wrong_file(self) -> None:
        """All mistakes are told, one a line, and the exit code is 1."""
        (self.folder / "aigw.toml").write_text('lisen = 1\ndrain_s = "soon"')
        ran = await self.run_aigw("check-config", "--config", "aigw.toml")
        self.assertEqual((ran.out, ran.code), ("", 1))
        self.assertEqual(
            ran.err.splitlines(),
            [
                "aigw: aigw.toml: lisen: no such key; did you mean `listen`?",
                "aigw: aigw.toml: drain_s: expected a number of at least 0, got `soon`",
            ],
        )


class DoctorTests(CommandTestCase):
    async def test_a_healthy_gateway(self) -> None:
        """The running gateway's own findings are shown."""
        self.start()
        ran = await self.run_aigw("doctor")
        self.assertEqual((ran.out, ran.code), ("ok  ports  fine\n", 0))

    async def test_a_finding(self) -> None:
        """One failed check makes the exit code 1."""
        control = self.start()

        async def sick() -> object:
            return [{"name": "ports", "ok": True, "text": "fine"}, {"name": "clock", "ok": False, "text": "wrong"}]

        control.doctor = sick
        ran = await self.run_aigw("doctor", "--json")
        self.assertEqual(([check["ok"] for check in ran.objects()], ran.code), ([True, False], 1))

    async def test_nothing_runs(self) -> None:
        """Without a gateway the doctor looks at whether one could run."""
        self.data_dir.mkdir(mode=0o700)
        free = {"AIGW_LISTEN": "tcp:0:interface=127.0.0.1", "AIGW_CONTROL": "tcp:0:interface=127.0.0.1"}
        ran = await self.run_aigw("doctor", "--json", **free)
        found = {check["name"]: check for check in ran.objects()}
        names = ["gateway", "settings", "ports", "data folder", "spool", "clock", "master key"]
        self.assertEqual(list(found), names)
        self.assertEqual([name for name in names if not found[name]["ok"]], ["gateway", "master key"])
        self.assertIn("No gateway is running", found["gateway"]["text"])
        self.assertEqual(ran.code, 1)

    async def test_nothing_runs_and_the_settings_are_wrong(self) -> None:
        """Mistakes in the settings are one finding among the others."""
        self.data_dir.mkdir(mode=0o700)
        ran = await self.run_aigw("doctor", "--json", AIGW_DRAIN_S="soon")
        found = {check["name"]: check for check in ran.objects()}
        self.assertIn("AIGW_DRAIN_S", found["settings"]["text"])
        self.assertIn("spool", found)
        self.assertNotIn("ports", found)


class CommandTests(CommandTestCase):
    async def test_help_is_light(self) -> None:
        """`aigw --help` and completion load neither Twisted nor a driver, so the shell does not wait."""
        (self.folder / "look.py").write_text(
            "import sys\nfrom aigw.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
            "print([name for name in ('twisted', 'autobahn', 'msgspec', 'psycopg2') if name in sys.modules])\n"
        )
        ran = await self.run_python("look.py")
        self.assertEqual(ran.out.splitlines()[-1], "[]")

    async def test_completion(self) -> None:
        """Both shells get a script that knows the verbs."""
        for shell in ("bash", "zsh"):
            ran = await self.run_aigw("completion", shell)
            self.assertEqual(ran.code, 0)
            self.assertIn("check-config", ran.out)

    async def test_no_verb(self) -> None:
        """A command without a verb is a wrong command line, told with the usage."""
        ran = await self.run_aigw()
        self.assertEqual(ran.code, 2)
        self.assertIn("usage: aigw", ran.err)
