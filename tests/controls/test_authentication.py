"""How callers show who they are."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import ANONYMOUS, Caller, authenticate, credentials
from aigw.controls.token_file import TokenFile
from aigw.controls.tokens import Tokens
from aigw.errors import Unauthorized
from aigw.values.gateway import Gateway


class CredentialsTests(SynchronousTestCase):
    def test_bearer_is_optional(self) -> None:
        """The documented examples send the token with and without `Bearer`; case and spaces do not matter."""
        for value in (b"aigw_x", b"Bearer aigw_x", b"bearer aigw_x", b"BEARER   aigw_x ", b" aigw_x"):
            self.assertEqual(credentials(value), b"aigw_x")

    def test_nothing_shown(self) -> None:
        """An empty header is no credential, and neither is a subprotocol of another kind."""
        for value in (None, b"", b" ", b"Bearer", b"Bearer "):
            self.assertIsNone(
                credentials(value, ["realtime", "cf-aig-authorization.", "openai-insecure-api-key.sk-fake"])
            )

    def test_a_browser_offers_a_subprotocol(self) -> None:
        """A page that cannot set headers shows its token among the subprotocols."""
        self.assertEqual(credentials(None, ["realtime", "cf-aig-authorization.aigw_x"]), b"aigw_x")

    def test_the_header_goes_first(self) -> None:
        """Where both are sent, the header counts."""
        self.assertEqual(credentials(b"Bearer aigw_h", ["cf-aig-authorization.aigw_s"]), b"aigw_h")


class AuthenticateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tokens = Tokens(TokenFile(Path(self.mktemp()), execute), lambda: 1_000)
        self.made = self.successResultOf(Deferred.fromCoroutine(self.tokens.create("app")))
        self.valid = self.made.text.encode()

    def caller(self, gateway: Gateway, credential: bytes | None) -> Caller:
        return authenticate(self.tokens, gateway, credential, 1_000)

    def test_a_closed_gateway_wants_a_token(self) -> None:
        """A gateway asks for a token unless its owner turned that off, and refuses wrong ones."""
        for credential in (None, b"undefined", b"aigw_" + b"0" * 43):
            self.assertRaises(Unauthorized, self.caller, Gateway(id="default"), credential)

    def test_a_valid_token_names_its_caller(self) -> None:
        """The log tells by the public id which token called."""
        self.assertEqual(self.caller(Gateway(id="default"), self.valid), Caller(self.made.token.id, True))

    def test_an_open_gateway_takes_everybody(self) -> None:
        """An open gateway serves callers with no token and with nonsense in its place."""
        gateway = Gateway(id="default", authentication=False)
        for credential in (None, b"undefined", b"aigw_" + b"0" * 43):
            self.assertEqual(self.caller(gateway, credential), ANONYMOUS)

    def test_an_open_gateway_still_knows_its_tokens(self) -> None:
        """A caller who shows a token on an open gateway is named in the log."""
        gateway = Gateway(id="default", authentication=False)
        self.assertEqual(self.caller(gateway, self.valid), Caller(self.made.token.id, True))

    def test_a_token_of_another_account_is_refused(self) -> None:
        """Tokens do not reach into other accounts."""
        self.assertRaises(Unauthorized, self.caller, Gateway(id="default", account="other"), self.valid)
