"""Tests of aigw.logs.filters, with rows that went the whole way."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred

from aigw.errors import StatementTooSlow
from aigw.logs.filters import LogFilters
from aigw.logs.search import list_logs
from aigw.storage.settings import DatabaseSettings
from aigw.values.ids import id_ms, id_text
from aigw.values.record import Begin, Target
from tests.logs.records import Records
from tests.logs.shipping import ShippingCase

DAY_MS = 86_400_000


class FilterTests(ShippingCase):
    """Which logs are found."""

    async def found(self, limit: int = 50, **wanted: Any) -> list[str]:
        """Event ids of what a search gives."""
        return [str(view.event_id) for view in await list_logs(self.real, LogFilters(**wanted), limit)]

    def ask(self, event_id: str, provider: str = "openai", model: str = "gpt-4o", **fields: Any) -> None:
        """One exchange."""
        begin = self.records.begin(event_id=event_id, **fields.pop("origin", {}))
        begin = Begin(begin.origin, Target(provider, "chat/completions", model))
        self.spool.begin(begin, lambda: None)
        self.spool.end(self.records.end(begin, **fields), lambda: None)

    async def test_each_filter(self) -> None:
        """Whatever a log can be found by finds the one log that has it, and nothing that was never logged."""
        self.ask("plain")
        self.ask("account", origin={"account": "acme"})
        self.ask("gateway", origin={"gateway": "chat"})
        self.ask("provider", provider="anthropic")
        self.ask("model", model="org/model:1")
        self.ask("token", origin={"token": "tok_1"})
        self.ask("team", origin={"team": "red"})
        self.ask("user", origin={"user": "ann@example.com"})
        self.ask("status", status=503)
        self.ask("cached", cached=True)
        self.ask("text", origin={"metadata": b'{"k": "v", "other": "w"}'})
        self.ask("number", origin={"metadata": b'{"n": 7, "yes": true, "%s": ""}'})
        await self.shipped()
        for expected, wanted in (
            ("account", {"account": "acme"}),
            ("gateway", {"gateway": "chat"}),
            ("provider", {"provider": "anthropic"}),
            ("model", {"model": "org/model:1"}),
            ("token", {"token": "tok_1"}),
            ("team", {"team": "red"}),
            ("user", {"user": "ann@example.com"}),
            ("status", {"status": 503}),
            ("cached", {"cached": True}),
            ("text", {"metadata": {"k": "v", "other": "w"}}),
            ("number", {"metadata": {"n": "7"}}),
            ("number", {"metadata": {"yes": "true"}}),
            ("number", {"metadata": {"%s": ""}}),
            ("plain", {"event_id": "plain"}),
        ):
            self.assertEqual(await self.found(**wanted), [expected], wanted)
        for name in ("account", "gateway", "provider", "model", "token", "team", "user", "event_id"):
            for text in ("nowhere", "", "\0", "' OR 1=1 --", "%", "x" * 5_000):
                self.assertEqual(await self.found(**{name: text}), [], (name, text))
        self.assertEqual(await self.found(metadata={"k": "v", "other": "x"}), [])
        self.assertEqual(await self.found(metadata={"\0": "\0"}), [])
        self.assertNotIn("cached", await self.found(cached=False))
        self.assertEqual(len(await self.found(cached=False)), 11)

    async def test_names_of_one_kind_are_no_names_of_another(self) -> None:
        """A team that is called like a user, or a model like a provider, is told apart."""
        self.ask("a", origin={"team": "same", "user": "other"})
        self.ask("b", origin={"team": "other", "user": "same"})
        await self.shipped()
        self.assertEqual([await self.found(team="same"), await self.found(user="same")], [["a"], ["b"]])
        self.assertEqual(await self.found(team="same", user="same"), [])
        self.assertEqual(await self.found(provider="same"), [])

    async def test_since(self) -> None:
        """Logs from before a moment are left out, those of the very millisecond are not; odd moments do no harm."""
        old = Records(time.time_ns() // 1_000_000 - 3 * DAY_MS)
        self.spool.end(old.end(old.begin(event_id="old")), lambda: None)
        self.ask("new")
        await self.shipped()
        new_ms = id_ms(next(one for one in (await self.ids()) if id_ms(one) > time.time_ns() // 1_000_000 - DAY_MS))
        self.assertEqual(await self.found(since_ms=new_ms), ["new"])
        self.assertEqual(await self.found(since_ms=new_ms + 1), [])
        self.assertEqual(await self.found(since_ms=-(2**70)), ["new", "old"])
        self.assertEqual(await self.found(since_ms=2**70), [])

    async def test_newest_first_page_by_page(self) -> None:
        """Filtered lists begin with the newest over all gateways, and go on where the last page ended."""
        for index in range(12):
            self.ask(f"e{index}", origin={"gateway": f"g{index % 3}", "team": "red" if index % 2 else "blue"})
        await self.shipped()
        self.assertEqual(await self.found(2, team="red"), ["e11", "e9"])
        filters = LogFilters(team="red")
        first = await list_logs(self.real, filters, 4)
        rest = await list_logs(self.real, filters, 4, bytes.fromhex(first[-1].id.replace("-", "")))
        self.assertEqual([view.event_id for view in first + rest], ["e11", "e9", "e7", "e5", "e3", "e1"])

    async def test_a_list_says_who_called(self) -> None:
        """Team and user stand in every line of a list; who has none shows none."""
        self.ask("anon")
        self.ask("ann", origin={"team": "red", "user": "ann"})
        await self.shipped()
        views = await list_logs(self.real)
        self.assertEqual([(view.team, view.user) for view in views], [("red", "ann"), (None, None)])
        self.assertEqual(views[0].id, id_text((await self.ids())[-1]))


class SlowSearchTests(ShippingCase):
    """A search that would look at everything."""

    database_settings = DatabaseSettings(statement_s=0.2)

    async def test_a_search_is_given_up(self) -> None:
        """What takes the database too long ends with a word for it, and the database stays in use."""
        self.log(origin={"metadata": b'{"k": "v"}'})
        await self.shipped()
        await self.real.query("ALTER TABLE logs RENAME TO kept")
        columns = await self.real.query(
            "SELECT string_agg(CASE attname WHEN 'metadata' THEN 'slow.metadata' ELSE 'kept.' || attname END, ', '"
            " ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'kept'::regclass AND attnum > 0"
        )
        await self.real.query(
            f"CREATE VIEW logs AS SELECT {columns[0][0]} FROM kept"
            " CROSS JOIN LATERAL (SELECT kept.metadata FROM pg_sleep(60)) AS slow (metadata)"
        )
        search = Deferred.fromCoroutine(list_logs(self.real, LogFilters(metadata={"k": "v"})))
        await self.assertFailure(search, StatementTooSlow)
        self.assertTrue(self.real.available)
