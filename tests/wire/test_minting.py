"""A backend asks for tokens for its users."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from aigw.controls.token_file import TokenEntry
from aigw.controls.token_text import digest_of, new_text
from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import START_MS, TOKEN
from aigw.testing.socket import Link, SocketClient
from aigw.values.limits import Bounds
from aigw.values.token import Token
from tests.wire.http_client import Answer, HttpCase

PAGE = "https://app.example"
PARENT = new_text(lambda count: b"p" * count)
CREATE = {
    "type": "universal.create",
    "request": {"eventId": "e", "provider": "openai", "endpoint": "chat/completions", "headers": {}, "query": {}},
}


class MintCase(HttpCase):
    sockets = SocketLimits(allowed_origins=("*",))

    def parent(self, **terms: Any) -> str:
        """The text of a token that mints."""
        digest = digest_of(PARENT.encode())
        assert digest is not None
        token = Token("tok_" + "a" * 16, "backend", frozenset({"run"}), "local", None, START_MS, **terms)
        self.port.tokens.adopt([TokenEntry(digest, token)])
        return PARENT

    def mint(self, token: str = TOKEN, path: str = "/v1/local/default/tokens", **form: Any) -> Answer:
        headers = (("cf-aig-authorization", f"Bearer {token}"),)
        _, client = self.ask(path, body=json.dumps(form).encode(), headers=headers)
        return self.answer(client)

    def minted(self, token: str = TOKEN, **form: Any) -> str:
        answer = self.mint(token, **form)
        self.assertEqual(answer.status, 201, answer.body)
        text = answer.json["token"]
        assert isinstance(text, str)
        return text

    def browse(self, text: str, origin: str | None = PAGE) -> tuple[Link, SocketClient]:
        """A page in a browser opens a socket with a token."""
        return self.port.connect(subprotocols=[f"cf-aig-authorization.{text}"], origin=origin)


class MintingTests(MintCase):
    def test_a_token_for_a_user(self) -> None:
        """A backend gets a token that a browser can use at once, with its id and its end, and nobody stores it."""
        answer = self.mint(user="ada", expires_in_s=600)
        self.assertEqual((answer.status, answer.header("cache-control")), (201, "no-store"))
        made = answer.json
        self.assertEqual(
            (made["user"], made["gateway"], made["expires_at"]), ("ada", "default", "2023-11-14T22:23:20.000Z")
        )
        self.assertTrue(made["id"].startswith("tok_test."))
        _, client = self.browse(made["token"])
        self.assertTrue(client.is_connected)
        (session,) = self.port.port.sessions
        self.assertEqual((session.caller.token_id, session.caller.user), (made["id"], "ada"))

    def test_where_sdks_put_their_key(self) -> None:
        """The minting token is taken from `authorization` as well."""
        _, client = self.ask("/v1/local/default/tokens", body=b"{}", headers=(("authorization", f"Bearer {TOKEN}"),))
        self.assertEqual(self.answer(client).status, 201)

    def test_never_wider(self) -> None:
        """Nobody mints more than they have; the refusal names the field."""
        bounds = Bounds(models=("gpt-*", "o3"), providers=("openai",), origins=(PAGE,))
        parent = self.parent(user="ada", bounds=bounds)
        headers = (("cf-aig-authorization", parent), ("origin", PAGE))
        for form, field in (
            ({"models": ["*"]}, "models"),
            ({"models": ["gpt-4o", "claude-sonnet"]}, "models"),
            ({"providers": ["o*"]}, "providers"),
            ({"origins": ["https://evil.example"]}, "origins"),
            ({"user": "bob"}, "user"),
        ):
            _, client = self.ask("/v1/local/default/tokens", body=json.dumps(form).encode(), headers=headers)
            answer = self.answer(client)
            self.assert_refused(answer, 403, 4063)
            self.assertIn(f"{field}:", answer.json["error"][0]["message"])
        narrower = {"models": ["gpt-4*", "o3"], "providers": ["openai"], "origins": [PAGE], "user": "ada"}
        _, client = self.ask("/v1/local/default/tokens", body=json.dumps(narrower).encode(), headers=headers)
        self.assertEqual(self.answer(client).status, 201)

    def test_a_hidden_model(self) -> None:
        """A token for one model gets no other by a body whose model cannot be told, on any route of HTTP."""
        text = self.minted(models=["gpt-4o-mini"])
        form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--b--\r\n'
        hidden = b'{"model":"gpt-4o","messages":[]}'
        for path, kind, body in (
            ("chat/completions?model=gpt-4o-mini", "text/plain", hidden),
            ("chat/completions?model=gpt-4o-mini", "application/json", b"\xef\xbb\xbf" + hidden),
            ("chat/completions", "application/json", b'{"model":"gpt-4o-mini","models":["gpt-4o"]}'),
            ("chat/completions", "application/json", b'{"model":"gpt-4o-mini","model_id":"gpt-4o"}'),
            ("audio/transcriptions?model=gpt-4o-mini", "multipart/form-data; boundary=b", form),
            ("audio/transcriptions", "multipart/form-data; boundary=b", form),
        ):
            headers = (("cf-aig-authorization", text), ("content-type", kind))
            _, client = self.ask(f"/v1/local/default/openai/{path}", body=body, headers=headers)
            self.assert_refused(self.answer(client), 403, 4063)
        self.assertEqual(self.port.upstream.calls, [])

    def test_never_longer(self) -> None:
        """A token does not outlive the one that minted it, and lives a day at most."""
        parent = self.parent(expires_ms=START_MS + 60_000)
        self.assertEqual(self.mint(parent, expires_in_s=3600).json["expires_at"], "2023-11-14T22:14:20.000Z")
        self.assert_refused(self.mint(expires_in_s=86_401), 400, 4003)

    def test_who_may_not_mint(self) -> None:
        """A minted token mints no other, and neither does a caller without a token."""
        self.assert_refused(self.mint(self.minted()), 403, 4063)
        self.assert_refused(self.mint("undefined"), 401, 2009)
        self.assert_refused(self.mint("undefined", "/v1/local/open/tokens"), 403, 4063)

    def test_wrong_forms(self) -> None:
        """A form that makes no sense is refused with the path of each field; what is too long for a token as well."""
        for form, path in (
            ({"expires_in_s": 0}, "expires_in_s: expected"),
            ({"model": ["a"]}, "model: no such key; did you mean `models`?"),
            ({"limits": [{"limit": 1, "window": 0}]}, "limits[0].window: expected"),
            ({"origins": ["app.example"]}, "origins[0]: expected an origin"),
            ({"models": [f"model-{number}" for number in range(300)]}, "too long"),
            ({"user": ""}, "user: expected"),
        ):
            answer = self.mint(**form)
            self.assert_refused(answer, 400, 4003)
            self.assertIn(path, answer.json["error"][0]["message"])
        for body in (b"{", b"\xff", b"[" * 5_000):
            _, client = self.ask("/v1/local/default/tokens", body=body, headers=(("cf-aig-authorization", TOKEN),))
            self.assert_refused(self.answer(client), 400, 4000)

    def test_methods(self) -> None:
        """Only POST mints, and the refusal says so."""
        _, client = self.ask(
            "/v1/local/default/tokens", body=None, method="GET", headers=(("cf-aig-authorization", TOKEN),)
        )
        answer = self.answer(client)
        self.assert_refused(answer, 405, 4050)
        self.assertEqual(answer.header("allow"), "POST")


class OriginTests(MintCase):
    def test_pages(self) -> None:
        """A token that is for some pages opens the gateway from these, and from nowhere else."""
        text = self.minted(origins=[PAGE])
        self.assertTrue(self.browse(text)[1].is_connected)
        self.assertTrue(self.browse(text, PAGE.upper().replace("HTTPS", "https"))[1].is_connected)
        for origin in ("https://evil.example", "https://app.example.evil.example", "null", None):
            self.assertFalse(self.browse(text, origin)[1].is_connected)
        self.assertEqual({error.code for error in self.port.refused}, {4030})

    def test_http_too(self) -> None:
        """The same holds for requests over HTTP."""
        text = self.minted(origins=[PAGE])
        for origin, status in ((PAGE, 200), ("https://evil.example", 403)):
            headers = (("cf-aig-authorization", text), ("origin", origin))
            self.assertEqual(self.answered("/v1/local/default/openai/chat/completions", headers=headers).status, status)


class RevocationTests(MintCase):
    def revoke(self, token_id: str) -> None:
        """End a token as another node would: the revocation comes with the others' tokens."""
        entry = next(entry for entry in self.port.tokens.entries() if entry.token.id == token_id)
        ended = Token(token_id, "", frozenset(), "local", None, START_MS, None, START_MS)
        self.port.tokens.adopt([TokenEntry(entry.digest, ended)])

    def test_the_parent(self) -> None:
        """When the token that minted others is revoked, their sockets close at once."""
        link, client = self.browse(self.minted())
        _, other = self.browse(self.minted(self.parent()))
        self.revoke("tok_test")
        link.settle()
        self.assertEqual((client.close_code, client.close_reason), (1008, "the token was revoked"))
        self.assertTrue(other.is_connected)

    def test_one_alone(self) -> None:
        """When a minted token is revoked by itself, its sockets close, and the others stay."""
        parent = self.parent()
        first, second = self.mint(parent).json, self.mint(parent).json
        link, client = self.port.connect(headers={"cf-aig-authorization": first["token"]})
        _, other = self.port.connect(headers={"cf-aig-authorization": second["token"]})
        self.port.tokens.adopt([self._ended(first["id"])])
        link.settle()
        self.assertEqual(client.close_code, 1008)
        self.assertTrue(other.is_connected)

    def _ended(self, token_id: str) -> TokenEntry:
        ended = Token(token_id, "minted", frozenset(), "local", None, START_MS, START_MS + 1, START_MS)
        return TokenEntry(b"d" * 32, ended)

    def test_changed_origins(self) -> None:
        """A page that a team is no longer for makes no further request on the socket that it has open."""
        documents = self.port.team_documents
        self.successResultOf(Deferred.fromCoroutine(documents.put("local", "red", {})))
        link, client = self.browse(self.parent(team="red"))
        origins = {"bounds": {"origins": ["https://other.example"]}}
        self.successResultOf(Deferred.fromCoroutine(documents.put("local", "red", origins)))
        client.send(CREATE)
        link.settle()
        (last,) = client.about("e")
        self.assertEqual((last["response"]["internalCode"], client.close_code), (4030, 1008))

    def test_changed_bounds(self) -> None:
        """A team's new bounds hold for the next request of an open socket; with the team gone, there is none."""
        documents = self.port.team_documents
        self.successResultOf(Deferred.fromCoroutine(documents.put("local", "red", {})))
        link, client = self.port.connect(headers={"cf-aig-authorization": self.parent(team="red")})
        (session,) = self.port.port.sessions
        self.successResultOf(Deferred.fromCoroutine(documents.put("local", "red", {"bounds": {"models": ["m"]}})))
        client.send(CREATE)
        link.settle()
        self.assertEqual(session.caller.bounds[-1].bounds.models, ("m",))
        self.successResultOf(Deferred.fromCoroutine(documents.delete("local", "red")))
        client.send({**CREATE, "request": {**CREATE["request"], "eventId": "f"}})  # type: ignore[dict-item]
        link.settle()
        (last,) = client.about("f")
        self.assertEqual(last["response"]["internalCode"], 2009)
