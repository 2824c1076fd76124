"""Tests of aigw.logs.search and aigw.logs.views, with rows that went the whole way."""

from __future__ import annotations

from typing import Any

import msgspec

from aigw.logs.filters import LogFilters
from aigw.logs.search import AFTER_ALL, LIST_LOGS, list_logs, show_log
from aigw.logs.settings import SpoolSettings
from aigw.logs.views import Body, LogDetail
from aigw.values.counting import Charged
from aigw.values.ids import id_text
from aigw.values.record import Attempt, Begin, End, Origin, Session, Target
from aigw.values.usage import Usage
from tests.logs.shipping import ShippingCase


class ListTests(ShippingCase):
    """Newest first."""

    async def test_newest_first_over_gateways(self) -> None:
        """A list begins with the newest log, whatever gateway it belongs to, and is no longer than asked."""
        logged = [self.log(origin={"gateway": name}) for name in ("a", "b", "a", "c", "b")]
        await self.shipped()
        views = await list_logs(self.real, limit=4)
        self.assertEqual([view.id for view in views], [id_text(one) for one in reversed(logged)][:4])
        self.assertEqual([view.gateway for view in views], ["b", "c", "a", "b"])

    async def test_one_gateway(self) -> None:
        """An owner who looks at one gateway sees that one only."""
        self.log(origin={"gateway": "a"})
        mine = self.log(origin={"gateway": "b"})
        self.log(origin={"gateway": "b", "account": "other"})
        await self.shipped()
        views = await list_logs(self.real, LogFilters(account="local", gateway="b"))
        self.assertEqual([view.id for view in views], [id_text(mine)])
        self.assertEqual(await list_logs(self.real, LogFilters(account="local", gateway="nowhere")), [])

    async def test_pages(self) -> None:
        """Going on from the last id shows each log once."""
        logged = [self.log(origin={"gateway": f"g{index % 3}"}) for index in range(10)]
        await self.shipped()
        seen: list[str] = []
        before = None
        while page := await list_logs(self.real, limit=3, before=before):
            seen += [view.id for view in page]
            before = bytes.fromhex(page[-1].id.replace("-", ""))
        self.assertEqual(seen, [id_text(one) for one in reversed(logged)])

    async def test_a_list_is_a_walk_along_the_key(self) -> None:
        """A list stays quick with millions of logs: each gateway's newest come in order from the key, never sorted."""
        self.log()
        await self.shipped()

        async def explain(cursor: Any) -> str:
            await cursor.execute("SET LOCAL enable_seqscan = off")
            await cursor.execute(f"EXPLAIN {LIST_LOGS.format(conditions='')}", ([1, 2], AFTER_ALL, 50, 50))
            return "\n".join(row[0] for row in cursor.fetchall())

        plan = await self.real.transact(explain)
        self.assertIn("Index Scan Backward using logs_", plan)
        self.assertEqual(plan.count("Sort Key"), 1, "more is sorted than the few that are merged")


class ShowTests(ShippingCase):
    """One log with all there is."""

    spool_settings = SpoolSettings(segment_bytes=65_536, spool_bytes=16_777_216)

    async def test_every_field_comes_back(self) -> None:
        """What the gateway knew of an exchange, `aigw logs show` tells; no field is lost on the way."""
        origin = Origin(
            self.records.begin().origin.id,
            *("acme", "chat", "websocket", "event-7", "tok_1", "agent/1"),
            authenticated=True,
            metadata=b'{"team":"red","n":2,"paid":true}',
            team="blue",
            user="ann@example.com",
        )
        target = Target("openai", "chat/completions", "gpt-4o", "application/json", 321, "chat")
        end = End(
            origin,
            target,
            *(1234, 56, 207, True, True, 2, "text/event-stream", 4321, "gpt-4o-2026"),
            Usage(100, 50, 30, 20, True),
            *(1_500_000_000, 4024, "cut off"),
            [Attempt(1, "azure", 500, 2005, 3, 4, 5, "m1"), Attempt(2, "openai", 207, 0, 6, 7, 8, "m2", 1)],
            *(b'{"q": 1}', b"\xff\xfe", True, False, True, True),
            Session(3, 40, 50, 6000, -1, 1011, "provider"),
            (Charged("spend:k", 7, 2**41, 5),),
            {"cache": "SEMANTIC", "distance": 0.25, "locked": ["cf-aig-skip-cache"], "odd\0": "\0"},
        )
        defaults = End(Origin(b"", "", "", ""), Target(""))
        same = [name for name in End.__struct_fields__ if getattr(end, name) == getattr(defaults, name)]
        self.assertEqual(same, ["response_cut"], "a new field of End needs a value here, and a place in the tables")
        self.spool.begin(Begin(origin, target), lambda: None)
        self.spool.end(end, lambda: None)
        await self.shipped()
        detail = await show_log(self.real, origin.id)
        assert detail is not None
        shown = msgspec.to_builtins(detail)
        self.assertRegex(shown.pop("created_at"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            shown.pop("session"),
            {
                "turns": 3,
                "messages_in": 40,
                "messages_out": 50,
                "audio_in_ms": 6000,
                "audio_out_ms": None,
                "close_code": 1011,
                "closed_by": "provider",
            },
        )
        attempts = shown.pop("attempt_list")
        self.assertEqual([msgspec.convert(list(_in_order(one)), Attempt) for one in attempts], end.attempts)
        self.assertEqual(
            shown,
            {
                "id": id_text(origin.id),
                "account": "acme",
                "gateway": "chat",
                "provider": "openai",
                "model": "gpt-4o",
                "response_model": "gpt-4o-2026",
                "path": "chat/completions",
                "model_type": "chat",
                "duration": 1234,
                "first_byte_ms": 56,
                "success": True,
                "complete": True,
                "cached": True,
                "status_code": 207,
                "error_code": 4024,
                "step": 2,
                "attempts": 2,
                "tokens_in": 100,
                "tokens_out": 50,
                "cache_read": 30,
                "cache_write": 20,
                "usage_estimated": True,
                "cost": 1.5,
                "custom_cost": True,
                "metadata": {"team": "red", "n": 2, "paid": True},
                "request_type": "websocket",
                "request_content_type": "application/json",
                "response_content_type": "text/event-stream",
                "request_size": 321,
                "response_size": 4321,
                "event_id": "event-7",
                "token": "tok_1",
                "team": "blue",
                "user": "ann@example.com",
                "user_agent": "agent/1",
                "authentication": True,
                "error": "cut off",
                "controls": {
                    "cache": "SEMANTIC",
                    "distance": 0.25,
                    "locked": ["cf-aig-skip-cache"],
                    "odd\ufffd": "\ufffd",
                },
                "request": {"text": '{"q": 1}', "encoding": "utf-8", "complete": False},
                "response": {"text": "//4=", "encoding": "base64", "complete": True},
                "request_head": '{"q": 1}',
                "request_head_complete": False,
                "response_head": "\ufffd\ufffd",
                "response_head_complete": True,
            },
        )

    async def test_what_was_not_told_is_null(self) -> None:
        """An unknown price is null and never 0; so is everything else that nobody told."""
        log_id = self.log()
        await self.shipped()
        detail = await show_log(self.real, log_id)
        assert isinstance(detail, LogDetail)
        nothing = (detail.cost, detail.tokens_in, detail.event_id, detail.token, detail.metadata, detail.first_byte_ms)
        self.assertEqual(nothing, (None,) * 6)
        self.assertEqual((detail.request, detail.request_head, detail.request_head_complete, detail.error), (None,) * 4)

    async def test_a_body_of_megabytes(self) -> None:
        """A long body comes back whole; its head is its first kilobyte."""
        body = b"0123456789abcdef" * 100_000
        log_id = self.log(request_body=body, response_body=b"")
        await self.shipped()
        detail = await show_log(self.real, log_id)
        assert detail is not None
        self.assertEqual(detail.request, Body(body.decode(), "utf-8", True))
        self.assertEqual((detail.request_head, detail.request_head_complete), (body[:1024].decode(), False))
        self.assertEqual((detail.response, detail.response_head_complete), (Body("", "utf-8", True), True))

    async def test_no_such_log(self) -> None:
        """An id of nothing, and an id of another gateway, are not found."""
        log_id = self.log(origin={"gateway": "mine"})
        await self.shipped()
        self.assertIsNone(await show_log(self.real, b"\0" * 16))
        self.assertIsNone(await show_log(self.real, log_id, "local", "yours"))
        self.assertIsNotNone(await show_log(self.real, log_id, "local", "mine"))


def _in_order(shown: dict[str, object]) -> list[object]:
    return [shown[name] for name in Attempt.__struct_fields__]
