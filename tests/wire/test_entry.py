"""Who is let in where, and what an owner's changes do to those who are in already."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from aigw.controls.token_file import TokenEntry
from aigw.controls.token_text import digest_of, new_text
from aigw.testing.data_port import START_MS, TOKEN
from aigw.testing.socket import Link, SocketClient
from aigw.values.limits import Bounds
from aigw.values.record import End
from aigw.values.token import Token
from tests.wire.http_client import CHAT, HttpCase

NATIVE = "/openai/chat/completions"
ACME = new_text(lambda count: b"a" * count)
BOUND = new_text(lambda count: b"b" * count)


class EntryCase(HttpCase):
    """Gateways that are changed while clients are connected, and a token for another account."""

    def setUp(self) -> None:
        super().setUp()
        for text, account, bounds in ((ACME, "acme", Bounds()), (BOUND, "local", Bounds(locked=("collect-log",)))):
            digest = digest_of(text.encode())
            assert digest is not None
            token = Token(f"tok_{text[5:21]}", "x", frozenset({"run"}), account, None, START_MS, bounds=bounds)
            self.port.tokens.adopt([TokenEntry(digest, token)])

    def store(self, name: str, account: str = "local", **fields: Any) -> None:
        """An owner sets a gateway."""
        self.successResultOf(Deferred.fromCoroutine(self.port.gateways.put(account, name, fields)))

    def native(self, gateway: str, token: str = "", *headers: tuple[str, str]) -> Any:
        """A request over HTTP, answered by its provider when it comes that far."""
        sent = (("cf-aig-authorization", f"Bearer {token}"),) if token else ()
        return self.answered(f"/v1/{gateway}{NATIVE}", headers=(*sent, *headers))

    def universal(self, client: SocketClient, link: Link, headers: dict[str, Any], **step: Any) -> End:
        """A request over a socket, answered by its provider; what the log says of it."""
        before = len(self.port.upstream.calls)
        request = {"provider": "openai", "endpoint": "chat/completions", "headers": headers, **step}
        client.send({"type": "universal.create", "request": {"query": json.loads(CHAT), **request}})
        link.settle()
        if len(self.port.upstream.calls) > before:
            self.call.answer(b"{}")
            link.settle()
        return self.port.sink.ended[-1]


class DefaultTests(EntryCase):
    """Section 3.1 of Cloudflare's reference."""

    def test_born_by_a_token(self) -> None:
        """The first request with a token for the account makes its `default`; one without does not, nor a wrong one."""
        for token in ("", TOKEN, "aigw_" + "9" * 43):
            self.assert_refused(self.native("acme/default", token), 400, 2001)
        self.assertIsNone(self.port.gateways.find("acme", "default"))
        self.assertEqual(self.native("acme/default", ACME).status, 200)
        self.assert_refused(self.native("acme/default"), 401, 2009)
        (stored,) = self.port.gateway_documents.all()
        self.assertEqual((stored.account, stored.name), ("acme", "default"))

    def test_no_other_gateway_is_born(self) -> None:
        """An address with a typing error stays one, whoever asks."""
        self.assert_refused(self.native("acme/defualt", ACME), 400, 2001)
        self.assert_refused(self.native("local/defualt", TOKEN), 400, 2001)

    def test_born_again(self) -> None:
        """A socket that is open when its `default` is deleted finds a new one."""
        self.native("acme/default", ACME)
        self.store("default", "acme", collect_logs=False)
        link, client = self.port.connect("/v1/acme/default", {"cf-aig-authorization": ACME})
        self.assertFalse(self.universal(client, link, {}).origin.collect)
        self.successResultOf(Deferred.fromCoroutine(self.port.gateways.delete("acme", "default")))
        self.assertTrue(self.universal(client, link, {}).origin.collect)

    def test_before_anything_was_read(self) -> None:
        """A server that has never seen the database asks for patience, and does not say that there is no gateway."""
        self.port.gateway_documents.known = False
        self.assert_refused(self.native("local/bot", TOKEN), 503, 4067)
        self.assert_refused(self.native("acme/default", ACME), 503, 4067)
        self.assertEqual(self.native("local/default", TOKEN).status, 200)
        self.assertIsNone(self.port.gateways.find("acme", "default"))


class LiveTests(EntryCase):
    """What an owner changes holds for the next request of a socket that is open."""

    def test_settings(self) -> None:
        """The next request on an open socket is treated by the new settings."""
        self.store("live", authentication=False)
        link, client = self.port.connect("/v1/local/live")
        self.assertTrue(self.universal(client, link, {}).origin.collect)
        self.store("live", authentication=False, collect_logs=False)
        self.assertFalse(self.universal(client, link, {}).origin.collect)

    def test_authentication_switched_on(self) -> None:
        """A client without a token, let in while the gateway was open, is refused and sent away."""
        self.store("live", authentication=False)
        link, client = self.port.connect("/v1/local/live")
        named_link, named = self.port.connect("/v1/local/live", {"cf-aig-authorization": TOKEN})
        self.store("live")
        self.assertEqual(self.universal(client, link, {}).error_code, 2009)
        self.assertTrue(link.closed)
        self.assertEqual(self.universal(named, named_link, {}).error_code, 0)

    def test_gateway_deleted(self) -> None:
        """Requests to a gateway that is gone are refused, on open sockets too."""
        self.store("live", authentication=False)
        link, client = self.port.connect("/v1/local/live")
        self.successResultOf(Deferred.fromCoroutine(self.port.gateways.delete("local", "live")))
        self.assertEqual(self.universal(client, link, {}).error_code, 2001)
        self.assertTrue(link.closed)

    def test_locked_meanwhile(self) -> None:
        """A header of the upgrade that the owner locks later is ignored from then on, and holds again when unlocked."""
        self.store("live", authentication=False)
        link, client = self.port.connect("/v1/local/live", {"cf-aig-collect-log": "false"})
        self.assertFalse(self.universal(client, link, {}).origin.collect)
        self.store("live", authentication=False, locked=["collect-log"])
        self.assertTrue(self.universal(client, link, {}).origin.collect)
        self.store("live", authentication=False)
        self.assertFalse(self.universal(client, link, {}).origin.collect)


class LockTests(EntryCase):
    """Headers that an owner has locked, on every route."""

    def setUp(self) -> None:
        super().setUp()
        self.store("locked", authentication=False, locked=["*"])

    def test_native(self) -> None:
        """A request's own header is ignored, the answer names it, and none of it reaches the provider."""
        headers = (("cf-aig-zdr", "true"), ("cf-aig-collect-log", "false"), ("cf-aig-metadata", '{"a": 1}'))
        answer = self.native("local/locked", "", *headers)
        self.assertEqual(answer.header("cf-aig-locked"), "cf-aig-collect-log,cf-aig-zdr")
        record = self.port.sink.ended[-1]
        self.assertEqual((record.origin.collect, record.origin.metadata), (True, b'{"a":1}'))
        self.assertFalse(any(name.startswith(b"cf-") for name in self.sent_headers()))

    def test_steps(self) -> None:
        """Neither the headers nor the `config` of a step get around a lock, on the socket or over HTTP."""
        headers = {"cf-aig-collect-log": "false", "CF-AIG-Collect-Log-Payload": "false"}
        link, client = self.port.connect("/v1/local/locked")
        record = self.universal(client, link, headers)
        self.assertEqual((record.origin.collect, record.origin.collect_payload), (True, True))
        step = {"provider": "openai", "endpoint": "chat/completions", "headers": headers, "query": {}}
        self.answered("/v1/local/locked", body=json.dumps([step]).encode())
        self.assertEqual((self.port.sink.ended[-1].origin.collect), True)

    def test_config_of_a_step(self) -> None:
        """Tries that a step asks for are not made when the header for them is locked."""
        for gateway, attempts in (("open", 3), ("locked", 1)):
            link, client = self.port.connect(f"/v1/local/{gateway}")
            request = {"provider": "openai", "endpoint": "chat/completions", "headers": {}, "query": {}}
            config = {"maxAttempts": 3, "retryDelay": 0}
            client.send({"type": "universal.create", "request": {**request, "config": config}})
            link.settle()
            for _ in range(attempts):
                self.call.answer(b"{}", status=500)
                link.advance(0.1)
            self.assertEqual(len(self.port.sink.ended[-1].attempts), attempts, gateway)

    def test_realtime(self) -> None:
        """The upgrade of a realtime session is held to the locks, too."""
        self.port.connect("/v1/local/locked/openai?model=gpt-4o-realtime", {"cf-aig-collect-log": "false"})
        for record in (*self.port.sink.begun, *self.port.sink.ended):
            self.assertTrue(record.origin.collect)
        self.assertTrue(self.port.sink.begun or self.port.sink.ended)

    def test_the_token_locks(self) -> None:
        """A lock of a token holds for its holder, on a gateway that locks nothing."""
        self.native("local/default", BOUND, ("cf-aig-collect-log", "false"))
        self.assertTrue(self.port.sink.ended[-1].origin.collect)
        self.native("local/default", TOKEN, ("cf-aig-collect-log", "false"))
        self.assertFalse(self.port.sink.ended[-1].origin.collect)

    def test_a_wrong_value_is_no_harm(self) -> None:
        """A header that is ignored is ignored whatever it says."""
        self.assertEqual(self.native("local/locked", "", ("cf-aig-max-attempts", "many")).status, 200)
        self.assertEqual(self.native("local/open", "", ("cf-aig-max-attempts", "many")).status, 400)
