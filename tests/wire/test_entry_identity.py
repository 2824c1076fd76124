"""Who comes in by an identity token, alone or beside a token of the gateway."""

from __future__ import annotations

from typing import Any

from aigw.controls.authentication import Caller
from aigw.errors import Unauthorized
from aigw.testing.data_port import START_MS, TOKEN, MemoryDataPort
from aigw.testing.identity import IdentityProvider
from tests.wire.http_client import CLOSED, OPEN, HttpCase

ASSERTION = "cf-access-jwt-assertion"
CHATS = "/v1/local/default/openai/chat/completions"
OPEN_CHATS = "/v1/local/open/openai/chat/completions"


class IdentityCase(HttpCase):
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.provider = IdentityProvider(lambda: START_MS / 1000 + self.port.clock.seconds())
        self.provider.add_key("k1")
        self.port = self.started(**self.settings)

    def started(self, **settings: Any) -> MemoryDataPort:
        """A data port that believes the identity provider."""
        identity = [self.provider.settings(**settings)]
        port = MemoryDataPort(gateways=(CLOSED, OPEN), identity=identity, outbound=self.provider)
        port.identity.start()
        self.addCleanup(port.identity.stop)
        return port

    def status(self, path: str = CHATS, **headers: str) -> int:
        """What an HTTP request is answered with."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return self.answered(path, headers=named).status

    def caller(self, path: str = "/v1/local/default", **headers: str) -> Caller:
        """Who the gateway says has opened the only socket."""
        _, client = self.port.connect(path, {name.replace("_", "-"): value for name, value in headers.items()})
        self.assertTrue(client.is_connected, self.port.refused)
        (session,) = self.port.port.sessions
        return session.caller


class AssertionTests(IdentityCase):
    """A proxy in front says who is behind a request, and the application shows the gateway's token."""

    def test_a_person_beside_a_token(self) -> None:
        """The log names token and person, and policies see the person's claims."""
        text = self.provider.sign("k1", email="ada@example.com", groups=["dev"])
        caller = self.caller(cf_aig_authorization=TOKEN, cf_access_jwt_assertion=text)
        self.assertEqual((caller.token_id, caller.user), ("tok_test", "ada@example.com"))
        self.assertEqual(caller.identity["user"]["groups"], ["dev"])

    def test_a_wrong_one(self) -> None:
        """A wrong assertion is 401, though the token beside it is good, and on an open gateway too."""
        for text in ("junk", self.provider.sign("k1", aud="other")):
            for path in (CHATS, OPEN_CHATS):
                self.assertEqual(self.status(path, cf_aig_authorization=TOKEN, cf_access_jwt_assertion=text), 401)

    def test_not_enough_by_itself(self) -> None:
        """Without a token, a person is let in only where the owner says that identity tokens authenticate."""
        self.assertEqual(self.status(cf_access_jwt_assertion=self.provider.sign("k1")), 401)
        self.assertEqual(self.status(cf_aig_authorization=self.provider.sign("k1")), 401)
        caller = self.caller("/v1/local/open", cf_access_jwt_assertion=self.provider.sign("k1"))
        self.assertEqual((caller.authenticated, caller.user), (False, "ada"))

    def test_nobody_is_believed(self) -> None:
        """A server without any identity provider leaves assertions alone: a proxy may add them all the same."""
        self.port = MemoryDataPort(gateways=(CLOSED,))
        self.assertEqual(self.status(cf_aig_authorization=TOKEN, cf_access_jwt_assertion="junk"), 200)

    def test_keys_on_their_way(self) -> None:
        """While a new key is fetched, callers are told to come again in a second."""
        self.port.clock.advance(60)
        self.provider.add_key("k2", "ES256", 2)
        self.provider.slow = True
        headers = (("cf-aig-authorization", TOKEN), (ASSERTION, self.provider.sign("k2")))
        answer = self.answered(CHATS, headers=headers)
        self.assert_refused(answer, 503, 4065)
        self.assertEqual(answer.header("retry-after"), "1")
        self.provider.answer()
        self.assertEqual(self.answered(CHATS, headers=headers).status, 200)

    def test_two_of_them(self) -> None:
        """Two assertions are no assertion."""
        text = self.provider.sign("k1")
        headers = (("cf-aig-authorization", TOKEN), (ASSERTION, text), (ASSERTION, text))
        self.assert_refused(self.answered(CHATS, headers=headers), 400, 4000)

    def test_never_sent_on(self) -> None:
        """No provider sees an identity token that stood where the gateway reads it."""
        self.status(cf_aig_authorization=TOKEN, cf_access_jwt_assertion=self.provider.sign("k1"))
        self.assertNotIn(b"eyJ", b"".join(self.sent_headers().values()))


class CredentialTests(IdentityCase):
    """An identity token opens the gateway by itself."""

    settings = {"authenticates": True, "gateways": ("local/def*",), "team_claim": "team"}

    def test_alone(self) -> None:
        """A person comes in with the header, with the subprotocol, or with the proxy's assertion."""
        text = self.provider.sign("k1")
        caller = self.caller(cf_aig_authorization=f"Bearer {text}")
        self.assertEqual((caller.token_id, caller.authenticated, caller.user), ("", True, "ada"))
        _, client = self.port.connect(subprotocols=[f"cf-aig-authorization.{text}"])
        self.assertTrue(client.is_connected)
        self.assertEqual(self.status(cf_access_jwt_assertion=text), 200)

    def test_elsewhere(self) -> None:
        """Identity tokens open the gateways that the owner lists; on an open one they do no harm."""
        self.port = self.started(authenticates=True, gateways=("local/other", "else/*"))
        text = self.provider.sign("k1")
        self.assertEqual(self.status(cf_aig_authorization=text), 401)
        self.assertEqual(self.status(OPEN_CHATS, cf_aig_authorization=text), 200)

    def test_scope(self) -> None:
        """A person makes requests, and neither reads nor changes anything."""
        text = self.provider.sign("k1").encode()
        callers, now_ms = self.port.port.door.callers, self.port.utc_ms()
        callers.admit(CLOSED, text, now_ms)
        for scope in ("read", "edit"):
            self.assertRaises(Unauthorized, callers.admit, CLOSED, text, now_ms, None, scope)

    def test_no_minting(self) -> None:
        """A person has no token that could mint others."""
        _, client = self.ask(
            "/v1/local/default/tokens", body=b"{}", headers=(("cf-aig-authorization", self.provider.sign("k1")),)
        )
        self.assert_refused(self.answer(client), 403, 4063)

    def test_nonsense_on_an_open_gateway(self) -> None:
        """An open gateway takes whatever stands where a credential stands, a bad identity token included."""
        self.assertEqual(self.status(OPEN_CHATS, cf_aig_authorization=self.provider.sign("k1", aud="other")), 200)

    def test_its_end(self) -> None:
        """The first request after the token's end is refused, and the socket closes."""
        link, client = self.port.connect(headers={"cf-aig-authorization": self.provider.sign("k1")})
        self.port.clock.advance(331)
        client.send({"type": "universal.create", "request": {"eventId": "e", "provider": "openai"}})
        link.settle()
        self.assertEqual(client.close_code, 1008)

    def test_a_team_that_is_not_there(self) -> None:
        """Who claims to be of a team that the owner does not know is refused: nobody knows what holds for it."""
        self.assertEqual(self.status(cf_aig_authorization=self.provider.sign("k1", team="ghosts")), 401)
