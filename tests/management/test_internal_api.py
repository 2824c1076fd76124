"""The internal API, called as the command calls it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from aigw.errors import StatementTooSlow
from aigw.logs.filters import LogFilters
from aigw.management.control_client import CallRefused
from aigw.management.socket_path import SocketPath
from aigw.values.ids import id_text
from tests.management.control import LOG_IDS, NOW_MS, Control


class InternalAPITests(TestCase):
    def setUp(self) -> None:
        self.control = Control(Path(self.mktemp()))
        self.control.socket.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.control.socket.stop()))

    async def refused(self, method: str, path: str, body: object = None) -> CallRefused:
        try:
            answer = await self.control.call(method, path, body)
        except CallRefused as refusal:
            return refusal
        self.fail(f"{method} {path} gave {answer}")

    async def test_a_new_token(self) -> None:
        """A token made over the socket opens the gateway, with the scope `run` unless told otherwise."""
        made = await self.control.call("POST", "/v1/tokens", {"name": "ci"})
        token = self.control.tokens.verify(made["token"], "local", "default", "run", NOW_MS)
        assert token is not None
        self.assertEqual((token.id, token.name, token.scopes), (made["id"], "ci", {"run"}))
        self.assertEqual((made["state"], made["expires_at"]), ("in force", None))

    async def test_all_about_a_token(self) -> None:
        """Everything that a token can be bound to is kept."""
        form = {"scopes": ["read", "edit"], "account": "a", "gateway": "g", "expires_in_s": 60}
        made = await self.control.call("POST", "/v1/tokens", form)
        self.assertEqual((made["scopes"], made["account"], made["gateway"]), (["edit", "read"], "a", "g"))
        self.assertEqual(
            (made["created_at"], made["expires_at"]), ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")
        )

    async def test_a_list_shows_no_secret(self) -> None:
        """Whoever lists the tokens learns neither a text nor a digest."""
        made = await self.control.call("POST", "/v1/tokens", {"name": "ci"})
        text = made.pop("token")
        listed = await self.control.call("GET", "/v1/tokens")
        self.assertEqual(listed, {"tokens": [made]})
        self.assertNotIn(text, str(listed))

    async def test_revoking(self) -> None:
        """A token that was revoked over the socket is refused from then on; an unknown one is told as such."""
        made = await self.control.call("POST", "/v1/tokens", {})
        ended = await self.control.call("DELETE", f"/v1/tokens/{made['id']}")
        self.assertEqual(ended["state"], "revoked")
        self.assertIsNone(self.control.tokens.verify(made["token"], "local", "default", "run", NOW_MS))
        self.assertEqual((await self.refused("DELETE", "/v1/tokens/tok_nobody")).code, "no-such-token")

    async def test_forms_that_make_no_sense(self) -> None:
        """A wrong scope, an empty list of scopes, an unknown field and a hidden character make no token."""
        for form in ({"scopes": ["admin"]}, {"scopes": []}, {"nmae": "x"}, {"name": "a\n"}, {"expires_in_s": 0}, [1]):
            self.assertEqual((await self.refused("POST", "/v1/tokens", form)).code, "malformed")
        self.assertEqual(self.control.tokens.all(), [])

    async def test_listing_logs(self) -> None:
        """Logs come newest first, as many as asked, and page by page."""
        first = await self.control.call("GET", "/v1/logs?limit=2")
        self.assertEqual([log["id"] for log in first["logs"]], [id_text(log_id) for log_id in LOG_IDS[:2]])
        second = await self.control.call("GET", f"/v1/logs?limit=100&before={first['logs'][-1]['id']}")
        self.assertEqual(len(second["logs"]), len(LOG_IDS) - 2)

    async def test_limits_that_make_no_sense(self) -> None:
        """A limit that is no number of logs is told, not guessed at."""
        for limit in ("0", "-1", "1001", "ten", "9" * 30, "%C2%B2", "1%00"):
            self.assertEqual((await self.refused("GET", f"/v1/logs?limit={limit}")).code, "malformed")

    async def test_filters(self) -> None:
        """Lists are filtered by what the address says, an empty value included."""
        query = "team=red&cached=false&status=0&since=2026-11-23&metadata.a.b=&metadata.c=d&event_id="
        await self.control.call("GET", f"/v1/logs?{query}")
        self.assertEqual(
            self.control.filters,
            LogFilters(
                team="red",
                event_id="",
                cached=False,
                status=0,
                since_ms=1_795_392_000_000,
                metadata={"a.b": "", "c": "d"},
            ),
        )
        await self.control.call("GET", "/v1/logs")
        self.assertEqual(self.control.filters, LogFilters())

    async def test_filters_that_make_no_sense(self) -> None:
        """A filter that is misspelled or has a wrong value is refused by name; leaving it out would show too much."""
        for query in ("taem=red", "cached=yes", "status=teapot", "status=1000", "since=now", "since=", "metadata=x"):
            refusal = await self.refused("GET", f"/v1/logs?{query}")
            self.assertEqual(refusal.code, "malformed")
            self.assertIn(f"`{query.partition('=')[0]}`", str(refusal))

    async def test_a_search_that_takes_too_long(self) -> None:
        """A search for a needle among millions is given up, and says what to do; the database is not at fault."""
        self.control.log_fault = StatementTooSlow("SELECT")
        refusal = await self.refused("GET", "/v1/logs?user=nobody")
        self.assertEqual(refusal.code, "too-slow")
        self.assertIn("since", str(refusal))

    async def test_one_log(self) -> None:
        """A log is found by its id; what is no id, or nobody's, is told as such."""
        known = id_text(LOG_IDS[0])
        self.assertEqual(await self.control.call("GET", f"/v1/logs/{known}"), {"id": known})
        for unknown in (id_text(bytes(16)), "01JC3R94FRD97JBCBX3S0ZAXKW"):
            self.assertEqual((await self.refused("GET", f"/v1/logs/{unknown}")).code, "no-such-log")

    async def test_the_database_is_away(self) -> None:
        """Without the database, a command says that, and that no log is lost; it names no password."""
        self.control.database_away = True
        refusal = await self.refused("GET", "/v1/logs")
        self.assertEqual(refusal.code, "database")
        self.assertIn("spool", str(refusal))
        self.assertNotIn("sesame", str(refusal))

    async def test_a_defect_shows_nothing_of_the_inside(self) -> None:
        """A call that fails by a defect says so; the details are in the gateway's own log."""

        async def broken() -> object:
            raise ZeroDivisionError("secret detail")

        self.control.doctor = broken
        refusal = await self.refused("GET", "/v1/doctor")
        self.assertEqual(refusal.code, "internal")
        self.assertNotIn("secret", str(refusal))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_addresses_and_methods(self) -> None:
        """What is not there is told apart from what is used in the wrong way."""
        for path in ("/", "/v1", "/v2/logs", "/v1/logs/a/b", "/v1/nothing"):
            self.assertEqual((await self.refused("GET", path)).code, "no-such-address")
        self.assertEqual((await self.refused("PUT", "/v1/tokens")).code, "method")

    async def test_a_large_body_is_refused(self) -> None:
        """A body beyond the bound is refused by its length."""
        refusal = await self.refused("POST", "/v1/tokens", {"name": "x" * 5_000})
        self.assertIn("too large", str(refusal))

    async def test_a_caller_who_leaves_stops_the_work(self) -> None:
        """Ctrl-C in the command ends the call in the gateway too, without a complaint."""
        begun: Deferred[None] = Deferred()
        stopped: Deferred[None] = Deferred()

        async def endless() -> object:
            begun.callback(None)
            try:
                await Deferred()
            except CancelledError:
                stopped.callback(None)
                raise
            return None

        self.control.doctor = endless
        caller = await deferToThread(self._send, b"GET /v1/doctor HTTP/1.1\r\nHost: aigw\r\n\r\n")
        await begun
        caller.close()
        await stopped

    def _send(self, data: bytes) -> Any:
        caller = socket.socket(socket.AF_UNIX)
        with SocketPath(self.control.data_dir) as place:
            caller.connect(str(place.path))
        caller.sendall(data)
        return caller
