"""An identity provider: makes keys, signs identity tokens, and publishes its key set."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from aigw.controls.identity_settings import IdentitySettings
from aigw.errors import ConnectFailed
from aigw.interfaces import IOutboundHTTP
from aigw.values.outbound import OutboundAnswer
from aigw.values.step import Headers

Kind = Literal["RS256", "ES256", "EdDSA"]


@cache
def private_key(kind: Kind, number: int = 0) -> Any:
    """A key of a kind; made once, because an RSA key takes long."""
    if kind == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else ed25519.Ed25519PrivateKey.generate()


@implementer(IOutboundHTTP)
class IdentityProvider:
    """
    Answers for its key set without a network, or over one with `resource`.

    Args:
        now_s: Unix seconds, for the times in its tokens.
        issuer, audience: As in its tokens.

    Attributes:
        keys: Private ones with their algorithm, by id.
        asked: How often the key set was asked for.
        away: Whether asking fails.
        slow: Whether answers wait until `answer` is called.
        names_algorithms: Whether each published key says what it is for.
    """

    def __init__(self, now_s: Any, issuer: str = "https://id.example", audience: str = "aigw") -> None:
        self.issuer = issuer
        self.audience = audience
        self.keys: dict[str, tuple[Kind, Any]] = {}
        self.asked = 0
        self.away = False
        self.slow = False
        self.names_algorithms = False
        self._now_s = now_s
        self._waiting: list[Deferred[OutboundAnswer]] = []

    def add_key(self, kid: str, kind: Kind = "ES256", number: int = 0) -> None:
        """Publish another key."""
        self.keys[kid] = (kind, private_key(kind, number))

    def settings(self, jwks_url: str = "https://id.example/keys", **more: Any) -> IdentitySettings:
        """What the gateway's owner declares."""
        return IdentitySettings(issuer=self.issuer, audience=(self.audience,), jwks_url=jwks_url, **more)

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a token says; None takes a claim away."""
        now_s = int(self._now_s())
        usual = {"iss": self.issuer, "aud": self.audience, "sub": "ada", "iat": now_s, "exp": now_s + 300}
        return {name: value for name, value in {**usual, **more}.items() if value is not None}

    def sign(self, kid: str, headers: dict[str, Any] | None = None, algorithm: str = "", **claims: Any) -> str:
        """An identity token, signed with one of the keys."""
        kind, key = self.keys[kid]
        return jwt.encode(self.claims(**claims), key, algorithm or kind, {"kid": kid, **(headers or {})})

    def key_set(self) -> bytes:
        """What is published."""
        algorithms = get_default_algorithms()
        keys = [
            {**algorithms[kind].to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            | ({"alg": kind} if self.names_algorithms else {})
            for kid, (kind, key) in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    # Without a network ----------------------------------------------------------------------------------------------

    def request(
        self,
        method: bytes,
        url: bytes,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_bytes: int = 65_536,
    ) -> Deferred[OutboundAnswer]:
        """See `IOutboundHTTP`."""
        self.asked += 1
        waiting: Deferred[OutboundAnswer] = Deferred()
        self._waiting.append(waiting)
        if not self.slow:
            self.answer()
        return waiting

    def answer(self) -> None:
        """Answer whoever waits."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if self.away:
                each.errback(ConnectFailed())
            else:
                each.callback(OutboundAnswer(200, ((b"content-type", b"application/json"),), self.key_set()))

    # With one -------------------------------------------------------------------------------------------------------

    def resource(self) -> Resource:
        """Serves the key set at every address."""
        return _KeySet(self)


class _KeySet(Resource):
    isLeaf = True

    def __init__(self, provider: IdentityProvider) -> None:
        super().__init__()
        self._provider = provider

    def render_GET(self, request: Request) -> bytes:
        self._provider.asked += 1
        request.setHeader(b"content-type", b"application/json")
        return self._provider.key_set()
