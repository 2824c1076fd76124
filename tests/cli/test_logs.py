"""`aigw logs`."""

from __future__ import annotations

from aigw.logs.filters import LogFilters
from aigw.values.ids import id_text
from tests.cli import CommandTestCase
from tests.management.control import LOG_IDS


class LogsTests(CommandTestCase):
    async def test_list(self) -> None:
        """Logs come newest first, as many as asked, as a table with a head or as one object a line."""
        self.start()
        table = await self.run_aigw("logs", "list", "--limit", "2")
        head, *rows = table.out.splitlines()
        self.assertTrue(head.startswith("CREATED AT"))
        self.assertEqual([id_text(log_id) in row for log_id, row in zip(LOG_IDS, rows, strict=False)], [True, True])
        ran = await self.run_aigw("logs", "list", "--limit", "3", "--json")
        self.assertEqual([log["id"] for log in ran.objects()], [id_text(log_id) for log_id in LOG_IDS[:3]])

    async def test_more_than_one_page(self) -> None:
        """A limit beyond what one call gives is asked for page by page, and ends where the logs end."""
        control = self.start()
        ids = [number.to_bytes(16, "big") for number in range(2_100, 0, -1)]
        control.logs = {log_id: {"id": id_text(log_id)} for log_id in ids}
        for limit, there in ((2_050, 2_050), (5_000, 2_100)):
            ran = await self.run_aigw("logs", "list", "--limit", str(limit), "--json")
            self.assertEqual([log["id"] for log in ran.objects()], [id_text(log_id) for log_id in ids[:there]])

    async def test_show(self) -> None:
        """One log is shown with its bodies as they were; control characters do not reach the terminal."""
        control = self.start()
        control.logs[LOG_IDS[0]] = {
            "id": id_text(LOG_IDS[0]),
            "model": "gpt\x1b[2J",
            "cost": 0.0000125,
            "cached": False,
            "request_head": '{"q"',
            "request": {"text": '{\n"q": "\x1b[2J"}', "encoding": "utf-8", "complete": False},
            "response": None,
        }
        ran = await self.run_aigw("logs", "show", id_text(LOG_IDS[0]))
        self.assertIn('request: (cut off)\n{\n"q": "', ran.out)
        self.assertIn("response: (not kept)", ran.out)
        self.assertNotIn("request_head", ran.out)
        self.assertIn("0.0000125", ran.out)
        self.assertNotIn("\x1b", ran.out)
        (log,) = (await self.run_aigw("logs", "show", id_text(LOG_IDS[0]), "--json")).objects()
        self.assertEqual(log, control.logs[LOG_IDS[0]])

    async def test_filters(self) -> None:
        """Every filter reaches the gateway as it was typed, on every page."""
        control = self.start()
        ids = [number.to_bytes(16, "big") for number in range(1_100, 0, -1)]
        control.logs = {log_id: {"id": id_text(log_id)} for log_id in ids}
        texts = {name: f"{name} &=%" for name in ("account", "gateway", "token", "team", "user", "provider", "model")}
        arguments = [part for name, text in texts.items() for part in (f"--{name}", text)]
        arguments += ["--event-id", "e 1", "--status", "429", "--metadata", "k=a=b&c", "--metadata", "empty="]
        arguments += ["--not-cached", "--since", "2026-11-23T15:05:00+01:00", "--limit", "1050", "--json"]
        ran = await self.run_aigw("logs", "list", *arguments)
        self.assertEqual((ran.code, len(ran.objects())), (0, 1050))
        self.assertEqual(
            control.filters,
            LogFilters(
                **texts,
                event_id="e 1",
                status=429,
                cached=False,
                metadata={"k": "a=b&c", "empty": ""},
                since_ms=1_795_442_700_000,
            ),
        )
        await self.run_aigw("logs", "list", "--cached", "--since", "3650d")
        self.assertTrue(control.filters.cached)
        assert control.filters.since_ms is not None
        self.assertLess(control.filters.since_ms, 1_795_442_700_000)

    async def test_filters_that_make_no_sense(self) -> None:
        """A wrong filter is told with what was wrong, and no list is given in its place."""
        self.start()
        for arguments, word in (
            (("--since", "yesterday"), "2026-11-23"),
            (("--status", "ok"), "no HTTP status"),
            (("--metadata", "key"), "KEY=VALUE"),
            (("--metadata", "=value"), "KEY=VALUE"),
            (("--cached", "--not-cached"), "not allowed"),
        ):
            ran = await self.run_aigw("logs", "list", *arguments)
            self.assertEqual((ran.code, ran.out), (2, ""))
            self.assertIn(word, ran.err)

    async def test_nothing_there(self) -> None:
        """An unknown id is told as such; an outage of the database as an outage."""
        control = self.start()
        self.assertEqual((await self.run_aigw("logs", "show", "nonsense", "--json")).error()["code"], "no-such-log")
        control.database_away = True
        ran = await self.run_aigw("logs", "list", "--json")
        self.assertEqual((ran.error()["code"], ran.code), ("database", 1))

    async def test_limits_that_make_no_sense(self) -> None:
        """A limit that is no number of logs is a wrong command line."""
        for limit in ("0", "-1", "ten"):
            self.assertEqual((await self.run_aigw("logs", "list", "--limit", limit)).code, 2)
