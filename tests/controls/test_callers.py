"""Who calls, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import ANONYMOUS, Bound, Caller
from aigw.controls.callers import Admission, Callers
from aigw.controls.minted import Minter, MintForm
from aigw.controls.teams import Teams, read_team
from aigw.controls.token_file import TokenFile
from aigw.controls.tokens import NewToken, Tokens
from aigw.errors import Unauthorized
from aigw.testing.documents import MemoryDocuments
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds

CLOSED = Gateway(id="default")
OPEN = Gateway(id="default", authentication=False)
NONSENSE = (None, b"undefined", b"aigw_" + b"0" * 43, b"aigw_" + b"0" * 86, b"eyJ.eyJ.x")


class CallersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now_ms = 1_000_000
        self.tokens = Tokens(TokenFile(Path(self.mktemp()), execute), lambda: self.now_ms)
        self.documents = MemoryDocuments(read_team)
        self.minter = Minter(b"k" * 32, self.tokens, lambda: self.now_ms)
        self.callers = Callers(self.tokens, Teams(self.documents), self.minter)

    def token(self, **terms: Any) -> NewToken:
        return self.successResultOf(Deferred.fromCoroutine(self.tokens.create("app", **terms)))

    def team(self, name: str, **fields: Any) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.documents.put("local", name, fields)))

    def admit(self, credential: str | bytes | None, gateway: Gateway = CLOSED) -> Admission:
        shown = credential.encode() if isinstance(credential, str) else credential
        return self.callers.admit(gateway, shown, self.now_ms)

    def caller(self, credential: str | bytes | None, gateway: Gateway = CLOSED) -> Caller:
        return self.admit(credential, gateway).caller


class TokenTests(CallersTestCase):
    def test_a_closed_gateway_wants_a_token(self) -> None:
        """A gateway asks for a token unless its owner turned that off, and refuses wrong ones."""
        for credential in NONSENSE:
            self.assertRaises(Unauthorized, self.caller, credential)

    def test_an_open_gateway_takes_everybody(self) -> None:
        """An open gateway serves callers with no token and with nonsense in its place."""
        for credential in NONSENSE:
            self.assertIs(self.caller(credential, OPEN), ANONYMOUS)

    def test_a_valid_token_names_its_caller(self) -> None:
        """The log tells by the public id which token called, and whose it is, on an open gateway too."""
        made = self.token(user="ada")
        for gateway in (CLOSED, OPEN):
            caller = self.caller(made.text, gateway)
            self.assertEqual((caller.token_id, caller.authenticated, caller.user), (made.token.id, True, "ada"))

    def test_a_token_of_another_account_is_refused(self) -> None:
        """Tokens do not reach into other accounts."""
        self.assertRaises(Unauthorized, self.caller, self.token().text, Gateway(id="default", account="other"))

    def test_a_caller_is_made_once(self) -> None:
        """Nothing is compiled anew for each request."""
        made = self.token(bounds=Bounds(models=("gpt-*",)))
        self.assertIs(self.caller(made.text), self.caller(made.text))


class TeamTests(CallersTestCase):
    def test_a_team_binds_its_tokens(self) -> None:
        """Whoever calls with a team's token is held to the token's bounds and to the team's."""
        self.team("red", bounds={"models": ["gpt-*"]})
        own = Bounds(providers=("openai",))
        caller = self.caller(self.token(team="red", bounds=own).text)
        self.assertEqual(caller.team, "red")
        team = Bound("team:local/red", Bounds(models=("gpt-*",)))
        self.assertEqual(caller.bounds, (Bound(f"token:{caller.token_id}", own), team))

    def test_a_user_of_a_token_is_a_member(self) -> None:
        """A token that names a person but no team is of the team that lists the person, however it is capitalised."""
        self.team("red", members=["Ada@example.com"])
        self.assertEqual(self.caller(self.token(user="ada@EXAMPLE.com").text).team, "red")
        self.assertEqual(self.caller(self.token(user="bob@example.com").text).team, "")

    def test_no_team_no_entry(self) -> None:
        """A token of a team that was deleted is refused: what it was held to is not known any more."""
        self.team("red")
        made = self.token(team="red")
        admission = self.admit(made.text)
        self.successResultOf(Deferred.fromCoroutine(self.documents.delete("local", "red")))
        self.assertRaises(Unauthorized, self.caller, made.text)
        self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)

    def test_a_change_holds_at_the_next_request(self) -> None:
        """Who has a socket open is held to a team's new bounds from the next request on."""
        self.team("red")
        admission = self.admit(self.token(team="red").text)
        self.team("red", bounds={"models": ["cheap"]})
        caller = admission.present(CLOSED, self.now_ms)
        self.assertEqual(caller.bounds[-1].bounds.models, ("cheap",))


class PresentTests(CallersTestCase):
    def test_expiry_ends_an_open_socket(self) -> None:
        """The moment a token expires, the next request on its socket is refused, and the refusal says why."""
        admission = self.admit(self.token(expires_ms=self.now_ms + 10).text)
        admission.present(CLOSED, self.now_ms + 9)
        error = self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms + 10)
        self.assertEqual(error.detail, "the token has expired")

    def test_revocation_ends_an_open_socket(self) -> None:
        """A revoked token makes no further request on a socket that is open still."""
        made = self.token()
        admission = self.admit(made.text)
        self.successResultOf(Deferred.fromCoroutine(self.tokens.revoke(made.token.id)))
        error = self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)
        self.assertEqual(error.detail, "the token was revoked")

    def test_a_gateway_that_closes(self) -> None:
        """Once an open gateway wants tokens, whoever came without one makes no further request."""
        admission = self.admit(None, OPEN)
        self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)


class MintedTests(CallersTestCase):
    def mint(self, parent: NewToken, **form: Any) -> str:
        return self.minter.mint(self.caller(parent.text), CLOSED, MintForm(**form)).text

    def test_held_to_all_bounds(self) -> None:
        """The holder of a minted token is held to its bounds, to its parent's, and to the team's."""
        self.team("red")
        parent = self.token(team="red", bounds=Bounds(models=("gpt-*",)))
        caller = self.caller(self.mint(parent, user="ada", models=("gpt-4o",)))
        self.assertEqual((caller.user, caller.team, caller.authenticated), ("ada", "red", True))
        holders = [f"token:{caller.token_id}", f"token:{parent.token.id}", "team:local/red"]
        self.assertEqual([bound.holder for bound in caller.bounds], holders)

    def test_dies_with_its_parent(self) -> None:
        """A revoked token takes with it what it has minted, on open sockets too."""
        parent = self.token()
        text = self.mint(parent)
        admission = self.admit(text)
        self.successResultOf(Deferred.fromCoroutine(self.tokens.revoke(parent.token.id)))
        self.assertRaises(Unauthorized, self.caller, text)
        self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)

    def test_dies_alone(self) -> None:
        """A minted token can be revoked by itself; others of the same parent stay, and so does the parent."""
        parent = self.token()
        text, other = self.mint(parent), self.mint(parent)
        told: list[str] = []
        self.tokens.on_revoked(lambda token: told.append(token.id))
        admission = self.admit(text)
        minted_id = admission.caller.token_id
        self.successResultOf(Deferred.fromCoroutine(self.tokens.revoke(minted_id)))
        self.assertRaises(Unauthorized, self.caller, text)
        self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)
        self.assertIs(self.caller(text, OPEN), ANONYMOUS)
        self.assertEqual(told, [minted_id])
        self.caller(other)
        self.caller(parent.text)

    def test_expiry(self) -> None:
        """A minted token ends on time, on open sockets too."""
        text = self.mint(self.token(), expires_in_s=60)
        admission = self.admit(text)
        self.now_ms += 60_000
        self.assertRaises(Unauthorized, self.caller, text)
        self.assertRaises(Unauthorized, admission.present, CLOSED, self.now_ms)

    def test_opens_one_gateway(self) -> None:
        """A minted token opens the gateway at which it was minted, though its parent opens all of the account."""
        text = self.mint(self.token())
        self.caller(text)
        self.assertRaises(Unauthorized, self.caller, text, Gateway(id="other"))

    def test_runs_only(self) -> None:
        """A minted token neither reads nor changes anything, whatever its parent may."""
        parent = self.token(scopes=("run", "read", "edit"))
        text = self.mint(parent).encode()
        self.assertRaises(Unauthorized, self.callers.admit, CLOSED, text, self.now_ms, None, "read")
