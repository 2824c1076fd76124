"""Tokens that are shared, kept and renewed."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ProviderFailed
from aigw.providers.minting import TOKENS_KEPT, AccessToken, TokenMint, ask_token_endpoint
from tests.providers.token_endpoint import TokenEndpoint


class MintTests(SynchronousTestCase):
    """One question serves everybody, and the answer serves until it is old."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.mint = TokenMint(self.clock.seconds)
        self.asked: list[Deferred[AccessToken]] = []
        self.taken_back = 0

    def token(self, identity: bytes = b"me") -> str | Deferred[str]:
        return self.mint.token(identity, self._ask)

    def waiting(self, identity: bytes = b"me") -> Deferred[str]:
        token = self.token(identity)
        assert isinstance(token, Deferred)
        return token

    def _ask(self) -> Deferred[AccessToken]:
        asking: Deferred[AccessToken] = Deferred(self._taken_back)
        self.asked.append(asking)
        return asking

    def _taken_back(self, _: Deferred[AccessToken]) -> None:
        self.taken_back += 1

    def give(self, text: str = "t1", lifetime_s: float = 3600) -> None:
        self.asked[-1].callback(AccessToken(text, lifetime_s))

    def test_all_who_wait_share_one_question(self) -> None:
        """A burst of first requests asks for one token."""
        waiting = [self.waiting() for _ in range(5)]
        self.assertEqual(len(self.asked), 1)
        self.give()
        self.assertEqual([self.successResultOf(one) for one in waiting], ["t1"] * 5)

    def test_a_kept_token_is_there_at_once(self) -> None:
        """Later requests wait for nobody, and other identities have tokens of their own."""
        self.waiting()
        self.give()
        self.clock.advance(3000)
        self.assertEqual(self.token(), "t1")
        self.assertIsInstance(self.token(b"you"), Deferred)
        self.assertEqual(len(self.asked), 2)

    def test_renewed_before_it_expires(self) -> None:
        """Close to its end a token still serves, while one request's question brings the next one."""
        self.waiting()
        self.give()
        self.clock.advance(3400)
        self.assertEqual([self.token(), self.token()], ["t1", "t1"])
        self.assertEqual(len(self.asked), 2)
        self.give("t2")
        self.assertEqual(self.token(), "t2")
        self.clock.advance(3000)
        self.assertEqual(self.token(), "t2")

    def test_the_lifetime_begins_with_the_question(self) -> None:
        """An endpoint that is slow to answer does not make its token last longer."""
        self.waiting()
        self.clock.advance(3000)
        self.give()
        self.clock.advance(580)
        self.assertIsInstance(self.token(), Deferred)

    def test_an_expired_token_is_never_sent(self) -> None:
        """After a long silence the next request waits for a new token."""
        self.waiting()
        self.give()
        self.clock.advance(3571)
        waiting = self.waiting()
        self.give("t2")
        self.assertEqual(self.successResultOf(waiting), "t2")

    def test_a_failed_renewal_is_tried_again_later(self) -> None:
        """While the endpoint is down the old token serves, and the endpoint is not asked by every request."""
        self.waiting()
        self.give()
        self.clock.advance(3400)
        self.token()
        self.asked[-1].errback(ProviderFailed("down"))
        self.assertEqual([self.token(), self.token()], ["t1", "t1"])
        self.assertEqual(len(self.asked), 2)
        self.clock.advance(20)
        self.assertEqual(self.token(), "t1")
        self.assertEqual(len(self.asked), 3)

    def test_a_request_that_needs_the_renewal_joins_it(self) -> None:
        """When the old token runs out meanwhile, whoever comes waits for the question that runs already."""
        self.waiting()
        self.give()
        self.clock.advance(3400)
        self.token()
        self.clock.advance(190)
        waiting = self.waiting()
        self.assertEqual(len(self.asked), 2)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.taken_back, 0)

    def test_failures_reach_all_who_wait_and_are_not_kept(self) -> None:
        """A token endpoint's outage fails its requests, and the next one asks again."""
        waiting = [self.waiting(), self.waiting()]
        self.asked[-1].errback(ProviderFailed("down"))
        for one in waiting:
            self.failureResultOf(one, ProviderFailed)
        self.waiting()
        self.assertEqual(len(self.asked), 2)

    def test_clients_that_leave(self) -> None:
        """The question is taken back when the last one leaves, not before."""
        first, second = self.waiting(), self.waiting()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.taken_back, 0)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.taken_back, 1)
        again = self.waiting()
        self.give("t2")
        self.assertEqual(self.successResultOf(again), "t2")

    def test_tokens_kept_are_bounded(self) -> None:
        """Clients with any number of accounts fill no memory; the one not used for longest goes first."""
        for index in range(TOKENS_KEPT):
            self.waiting(b"%d" % index)
            self.give()
        self.assertEqual(self.token(b"0"), "t1")
        self.waiting(b"more")
        self.give()
        self.assertEqual(self.token(b"0"), "t1")
        self.assertIsInstance(self.token(b"1"), Deferred)


class EndpointTests(SynchronousTestCase):
    """What a token endpoint says, as RFC 6749, 5.1 and 5.2, has it."""

    def setUp(self) -> None:
        self.endpoint = TokenEndpoint()

    def ask(self) -> Deferred[AccessToken]:
        outbound = self.endpoint.parts.outbound
        asking = ask_token_endpoint(outbound, "https://tokens.example/token", b"secret=fake-secret", "Google")
        return Deferred.fromCoroutine(asking)

    def test_a_token(self) -> None:
        """A form is posted, and the token and its lifetime come back; a lifetime may be a text, as Entra had it."""
        for expires_in in (3599, "3599"):
            asking = self.ask()
            request = self.endpoint.last.request
            self.assertEqual((request.method, request.url), (b"POST", b"https://tokens.example/token"))
            self.assertIn((b"content-type", b"application/x-www-form-urlencoded"), request.headers)
            self.endpoint.answer(expires_in=expires_in)
            self.assertEqual(self.successResultOf(asking), AccessToken("fake-token", 3599.0))

    def test_refusals_are_told_without_secrets(self) -> None:
        """Status and OAuth's own code are told; descriptions, which repeat what was sent, are not."""
        for body, told in (
            (b'{"error":"invalid_grant","error_description":"fake-secret"}', "status 400, invalid_grant"),
            (b'{"error":"fake secret!"}', "status 400"),
            (b'{"error":{"message":"fake-secret"}}', "status 400"),
            (b"<html>fake-secret</html>", "status 400"),
        ):
            asking = self.ask()
            self.endpoint.last.answer(body, 400)
            error = self.failureResultOf(asking, ProviderFailed).value
            self.assertTrue(error.message.endswith(f"Google gave no access token: {told}"), error.message)

    def test_answers_without_a_usable_token(self) -> None:
        """What could not be sent as a header, or never expires, is refused."""
        for token, expires_in in (("", 60), ("a b", 60), ("a\r\nx: y", 60), ("\u00e9", 60), ("t", 0), ("t", None)):
            asking = self.ask()
            self.endpoint.answer(token, expires_in)
            self.failureResultOf(asking, ProviderFailed)
        asking = self.ask()
        self.endpoint.last.answer(b"[]")
        self.failureResultOf(asking, ProviderFailed)

    def test_an_endpoint_that_is_not_reached(self) -> None:
        """The error says whose endpoint it was."""
        asking = self.ask()
        self.endpoint.last.fail(ProviderFailed("refused"))
        self.assertIn("Google gave no access token", self.failureResultOf(asking, ProviderFailed).value.message)
