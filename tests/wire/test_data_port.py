"""The door of the data port: which upgrades are let in, and how the others are refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.values.gateway import Gateway
from aigw.wire.handshake import select_subprotocol

CLOSED = Gateway(id="default")
OPEN = Gateway(id="open", authentication=False)
HANDSHAKE = {
    "Host": "gateway.test",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class PortCase(SynchronousTestCase):
    """A port with a gateway that wants a token and one that is open."""

    def setUp(self) -> None:
        self.port = MemoryDataPort(gateways=(CLOSED, OPEN), sockets=SocketLimits(sockets=2))

    def ask(
        self, path: str = "/v1/local/open", method: str = "GET", **headers: str | None
    ) -> tuple[int, dict[str, str], Any]:
        """
        Send a request over a connection of its own.

        Args:
            path, method: Of the request.
            headers: Beside those of a handshake, an underscore for each hyphen; None takes one out.
        Returns:
            Status, headers in lower case, and the body: decoded JSON, or None when there is none.
        """
        fields = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items() if value is not None),
        ]
        return self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def exchange(self, data: bytes) -> tuple[int, dict[str, str], Any]:
        """Send bytes; see `ask`."""
        _, client = self.port.connect_raw(data)
        top, _, body = client.received.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split(" ")[1]), headers, json.loads(body) if body else None

    def assert_refused(self, answer: tuple[int, dict[str, str], Any], status: int, code: int) -> dict[str, str]:
        """A refusal has this status and code, in the body that Cloudflare's clients know; returns its headers."""
        found, headers, body = answer
        self.assertEqual((found, body["internalCode"] if body else None), (status, code))
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual((body["success"], body["error"][0]["code"], body["httpCode"]), (False, code, status))
        self.assertEqual(self.port.port.sessions, set())
        self.assertEqual(self.port.socket_factory.open_sockets, 0)
        return headers


class AddressTests(PortCase):
    """Where a WebSocket lives."""

    def test_with_and_without_slash(self) -> None:
        """Both spellings of an address upgrade, and a query string disturbs neither."""
        for path in ("/v1/local/open", "/v1/local/open/", "/v1/local/open?x=1", "/v1/local/open/?x=1"):
            port = MemoryDataPort(gateways=(OPEN,))
            _, client = port.connect(path)
            self.assertTrue(client.is_connected, path)

    def test_no_address(self) -> None:
        """What is no address of a gateway is 404, in JSON."""
        for path in (
            "/",
            "/v1",
            "/v1/local",
            "/v2/local/open",
            "/v1/local/o%20pen",
            "//v1/local/open",
            "/v1//open",
        ):
            self.assert_refused(self.ask(path), 404, 4040)

    def test_unknown_gateway(self) -> None:
        """A gateway that does not exist is 400 with code 2001, as with Cloudflare."""
        self.assert_refused(self.ask("/v1/local/nobody"), 400, 2001)
        self.assert_refused(self.ask("/v1/acme/open"), 400, 2001)

    def test_other_methods(self) -> None:
        """An upgrade by any method but GET is 405, also one that nobody knows."""
        for method in ("POST", "PUT", "BREW"):
            self.assert_refused(self.ask(method=method, Content_Length="0"), 405, 4050)


class HandshakeTests(PortCase):
    """Upgrades that are none."""

    def test_incomplete(self) -> None:
        """A handshake that lacks something, or has it wrong, is 400 in JSON."""
        for headers in (
            {"Sec_WebSocket_Version": None},
            {"Sec_WebSocket_Version": "8"},
            {"Sec_WebSocket_Key": None},
            {"Sec_WebSocket_Key": "short"},
            {"Sec_WebSocket_Key": "!" * 22 + "=="},
            {"Connection": None},
            {"Connection": "close"},
            {"Sec_WebSocket_Protocol": "a, a"},
            {"Sec_WebSocket_Protocol": "a b"},
            {"Sec_WebSocket_Protocol": "caf\u00e9"},
        ):
            self.assert_refused(self.ask(**headers), 400, 4000)

    def test_bytes_that_end_lines_for_others(self) -> None:
        """Bytes at which other parsers split a header are refused, so that no header can be forged in another."""
        for byte in "\x0b\x0c\x1c\x1d\x1e\x85":
            for name in ("Sec_WebSocket_Protocol", "Origin", "Connection"):
                answer = self.ask(**{name: f"Upgrade{byte}cf-aig-authorization: x"})
                self.assert_refused(answer, 400, 4000)

    def test_forged_line_in_the_address(self) -> None:
        """Nothing in an address can pass for a header of the handshake."""
        data = (
            b"GET /v1/local/open?\xa0HTTP/1.1\x85sec-websocket-key:forged\x85x: HTTP/1.1\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items()).encode()
            + b"\r\n"
        )
        _, client = self.port.connect_raw(data)
        self.assertIn(b"101 ", client.received)

    def test_odd_hosts_and_extensions(self) -> None:
        """A host of whatever spelling, and an offer of whatever extension, are no obstacle."""
        for headers in (
            {"Host": "gateway.test:"},
            {"Host": "[::1]:8787"},
            {"Sec_WebSocket_Extensions": "permessage-deflate; nonsense=1, permessage-deflate"},
            {"Sec_WebSocket_Extensions": ";;;"},
        ):
            self.setUp()
            status, found, _ = self.ask(**headers)
            self.assertEqual(status, 101, headers)
            self.assertNotIn("sec-websocket-extensions", found)

    def test_two_hosts(self) -> None:
        """Two hosts, or none, or what names none, are 400."""
        lines = b"GET /v1/local/open HTTP/1.1\r\n%b\r\n"
        for hosts in (b"", b"Host: a\r\nHost: b\r\n", b"Host: a/b@c\r\n", b"Host: a:port\r\n"):
            self.assert_refused(self.exchange(lines % hosts), 400, 4000)

    @given(st.dictionaries(st.sampled_from(sorted(HANDSHAKE)), st.text(st.characters(max_codepoint=255), max_size=12)))
    @settings(max_examples=100, deadline=None)
    def test_any_handshake_is_answered(self, changed: dict[str, str]) -> None:
        """Whatever stands in the headers of a handshake, it is upgraded or refused, and no session is left over."""
        self.setUp()
        clean = {name: value.replace("\r", "").replace("\n", "") for name, value in changed.items()}
        fields = "".join(f"{name}: {value}\r\n" for name, value in {**HANDSHAKE, **clean}.items())
        link, client = self.port.connect_raw(f"GET /v1/local/open HTTP/1.1\r\n{fields}\r\n".encode("latin-1"))
        status = int(client.received.split(b" ")[1])
        self.assertEqual(len(self.port.port.sessions), 1 if status == 101 else 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        link.vanish()
        self.assertEqual((self.port.port.sessions, self.port.server.channels), (set(), set()))


class AuthenticationTests(PortCase):
    """Who is let in."""

    def test_header(self) -> None:
        """A token in its header is taken, with and without `Bearer`."""
        for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", TOKEN):
            self.setUp()
            _, client = self.port.connect(headers={"cf-aig-authorization": value})
            self.assertTrue(client.is_connected)
            (session,) = self.port.port.sessions
            self.assertEqual((session.caller.token_id, session.caller.authenticated), ("tok_test", True))

    def test_subprotocol(self) -> None:
        """A browser's token, offered as a subprotocol, is taken, and the browser gets a subprotocol back."""
        secret = f"cf-aig-authorization.{TOKEN}"
        for offered, selected in (([secret], secret), ([secret, "realtime"], "realtime")):
            self.setUp()
            _, client = self.port.connect(subprotocols=offered)
            self.assertTrue(client.is_connected)
            self.assertEqual(client.subprotocol, selected)

    def test_no_token_or_a_wrong_one(self) -> None:
        """Without a valid token the upgrade is 401 with code 2009, and leaves no row."""
        wrong = "aigw_" + "1" * 43
        for headers in (
            {},
            {"cf_aig_authorization": "Bearer undefined"},
            {"cf_aig_authorization": wrong},
            {"cf_aig_authorization": ""},
            {"Sec_WebSocket_Protocol": f"cf-aig-authorization.{wrong}"},
            # The header goes before the subprotocol.
            {"cf_aig_authorization": wrong, "Sec_WebSocket_Protocol": f"cf-aig-authorization.{TOKEN}"},
        ):
            found = self.assert_refused(self.ask("/v1/local/default", **headers), 401, 2009)
            self.assertIn("www-authenticate", found)
        self.assertEqual((self.port.sink.begun, self.port.sink.ended), ([], []))
        self.assertEqual([error.code for error in self.port.refused], [2009] * 6)

    def test_token_without_the_scope(self) -> None:
        """A token that may only read logs makes no requests."""
        self.port = MemoryDataPort(gateways=(CLOSED,), scopes=("read", "edit"))
        self.assert_refused(self.ask("/v1/local/default", cf_aig_authorization=TOKEN), 401, 2009)

    def test_two_tokens(self) -> None:
        """Two such headers could mean two callers, and are refused."""
        lines = [*(f"{name}: {value}" for name, value in HANDSHAKE.items()), *[f"cf-aig-authorization: {TOKEN}"] * 2]
        data = "\r\n".join(["GET /v1/local/default HTTP/1.1", *lines, "", ""]).encode()
        self.assert_refused(self.exchange(data), 400, 4000)

    def test_token_in_a_setting_is_none(self) -> None:
        """The token is not among the settings that a session keeps."""
        self.port.connect("/v1/local/default", headers={"cf-aig-authorization": TOKEN, "cf-aig-metadata": "{}"})
        (session,) = self.port.port.sessions
        self.assertEqual(session._entry.settings, {b"cf-aig-metadata": b"{}"})

    def test_subprotocol_table(self) -> None:
        """The first offered value that is no secret is selected, else our own token, else the first, else none."""
        secret = f"cf-aig-authorization.{TOKEN}"
        key = "openai-insecure-api-key.sk-fake"
        for offered, selected in (
            ([], None),
            (["realtime"], "realtime"),
            ([secret], secret),
            ([secret, "realtime"], "realtime"),
            (["realtime", key, secret], "realtime"),
            ([key, secret], secret),
            ([key], key),
            ([key, "openai-beta.realtime-v1"], "openai-beta.realtime-v1"),
            (["a", "b"], "a"),
        ):
            self.assertEqual(select_subprotocol(offered), selected, offered)


class RoomTests(PortCase):
    """Who is let in while there is room, and from where."""

    def test_too_many_sockets(self) -> None:
        """One socket more than allowed is 503 with code 4007; when one leaves, there is room again."""
        first, _ = self.port.connect("/v1/local/open")
        self.port.connect("/v1/local/open")
        status, _, body = self.ask()
        self.assertEqual((status, body["internalCode"], body["retryable"]), (503, 4007, True))
        first.vanish()
        _, client = self.port.connect("/v1/local/open")
        self.assertTrue(client.is_connected)

    def test_draining(self) -> None:
        """A gateway that is about to stop refuses upgrades with 503, code 4010."""
        self.port.dispatcher.draining = True
        self.assert_refused(self.ask(), 503, 4010)

    def test_origins(self) -> None:
        """Where origins are listed, pages of others are 403; programs that are no browsers are not asked."""
        limits = SocketLimits(allowed_origins=("https://app.example.com", "http://localhost:3000/"))
        for origin, allowed in (
            (None, True),
            ("https://app.example.com", True),
            ("HTTPS://APP.example.com", True),
            ("http://localhost:3000", True),
            ("https://evil.example.com", False),
            ("https://app.example.com.evil.test", False),
            ("null", False),
            ("", False),
        ):
            self.port = MemoryDataPort(gateways=(OPEN,), sockets=limits)
            answer = self.ask(Origin=origin)
            if allowed:
                self.assertEqual(answer[0], 101, origin)
            else:
                self.assert_refused(answer, 403, 4030)

    def test_any_origin(self) -> None:
        """Where every origin is allowed, a page of whatever origin connects, also one without."""
        for origin in ("https://anywhere.test", "null", "file://"):
            self.setUp()
            self.assertEqual(self.ask(Origin=origin)[0], 101)
