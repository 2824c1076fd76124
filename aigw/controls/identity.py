"""People: identity tokens (JWT) of the owner's identity provider, verified and read."""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import jwt
import msgspec
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aigw.controls.identity_keys import REFRESH_S, IdentityKeys, PublicKey
from aigw.controls.identity_settings import IdentitySettings
from aigw.controls.patterns import matcher
from aigw.errors import Unauthorized
from aigw.interfaces import IOutboundHTTP

TOKEN_BYTES = 16_384
# What was verified is remembered until it expires, so that a token costs its signature once.
REMEMBERED = 10_000

# Claims that say how long and for whom the token is, and nothing of the person.
_REGISTERED = frozenset(("iss", "aud", "exp", "nbf", "iat", "jti"))


@attrs.frozen(eq=False)
class Person:
    """
    Whom an identity token is about.

    Attributes:
        id, email, groups: As the issuer says; groups are None where it says nothing of any.
        team: That the issuer names; empty for none.
        custom: Further claims for policies.
        expires_ms: The token is refused from then on; UTC, milliseconds since the epoch.
        issuer: Who says so.
        key: That signed it.
    """

    id: str
    email: str
    groups: tuple[str, ...] | None
    team: str
    custom: Mapping[str, Any]
    expires_ms: int
    issuer: Issuer
    key: PublicKey

    @property
    def user(self) -> str:
        """The person's name in logs and limits."""
        return self.email or self.id

    def claims(self) -> dict[str, Any]:
        """What policies see, as `Caller.identity`: what the issuer does not say is missing there."""
        user: dict[str, Any] = {"id": self.id, "email": self.email}
        if self.groups is not None:
            user["groups"] = list(self.groups)
        return {"user": user, "custom": dict(self.custom)}

    def in_force(self, now_ms: int) -> bool:
        """Whether the token has not expired, and the issuer still stands by the key that signed it."""
        return now_ms < self.expires_ms and self.issuer.keys.holds(self.key)


class Issuer:
    """
    One identity provider.

    Args:
        settings: See there.
        keys: Of the provider.
    """

    def __init__(self, settings: IdentitySettings, keys: IdentityKeys) -> None:
        self.settings = settings
        self.keys = keys
        self._opens = matcher(settings.gateways) if settings.gateways else lambda _: False

    def opens(self, account: str, gateway: str) -> bool:
        """Whether its tokens open a gateway by themselves."""
        return self.settings.authenticates and self._opens(f"{account}/{gateway}")

    def verify(self, text: str, header: Mapping[str, Any], now_ms: int) -> Person:
        """
        Whom a token is about.

        Args:
            text: Of the token.
            header: Decoded from it, not yet believed.
            now_ms: UTC, milliseconds since the epoch.
        Raises:
            Unauthorized: It is not to be believed.
            IdentityNotReady: The key that signed it is being fetched.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.settings.algorithms or "crit" in header or not isinstance(kid, str | None):
            raise Unauthorized("the identity token is signed in a way that is not allowed")
        key = self.keys.find(kid)
        # The key says what it is for. A token that names another algorithm wants it to be misread.
        if key is None or algorithm not in key.algorithms:
            raise Unauthorized("the identity token is signed by an unknown key")
        try:
            claims = jwt.decode(
                text,
                key.key,
                algorithms=[str(algorithm)],
                audience=self.settings.audience,
                issuer=self.settings.issuer,
                # Times are judged below, by the gateway's own clock.
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthorized("the identity token is not valid") from error
        return self._person(claims, key, now_ms)

    def _person(self, claims: Mapping[str, Any], key: PublicKey, now_ms: int) -> Person:
        settings = self.settings
        leeway_ms = settings.leeway_s * 1000
        expires_ms = _moment_ms(claims["exp"]) + leeway_ms
        if now_ms >= expires_ms:
            raise Unauthorized("the identity token has expired")
        if "nbf" in claims and now_ms < _moment_ms(claims["nbf"]) - leeway_ms:
            raise Unauthorized("the identity token is not valid yet")
        for name, values in settings.require_claims.items():
            if not set(_texts(claims.get(name))).intersection(values):
                raise Unauthorized(f"the identity token lacks a required value of `{name}`")
        person_id = _text(claims.get(settings.user_claim))
        if not person_id:
            raise Unauthorized(f"the identity token has no `{settings.user_claim}`")
        email = "" if claims.get("email_verified") in (False, "false") else _text(claims.get(settings.email_claim))
        custom = _custom(claims, settings)
        named = settings.groups_claim in claims
        groups = tuple(_texts(claims[settings.groups_claim])) if named else None
        team = _text(claims.get(settings.team_claim)) if settings.team_claim else ""
        return Person(person_id, email, groups, team, custom, expires_ms, self, key)


class Identity:
    """
    All identity providers of this server.

    Args:
        settings: One for each.
        outbound: Fetches their keys.
        clock: For the refreshing of keys, and for how often an unknown one is looked for.

    Attributes:
        version: Grows with every change of a provider's keys.
    """

    _log = Logger()

    def __init__(self, settings: Iterable[IdentitySettings], outbound: IOutboundHTTP, clock: Any) -> None:
        self.version = 0
        self._issuers = {
            one.issuer: Issuer(one, IdentityKeys(one.jwks_url, outbound, clock.seconds, self._changed))
            for one in settings
        }
        self._verified: dict[bytes, Person] = {}
        self._refreshing = LoopingCall(self._refresh)
        self._refreshing.clock = clock

    @property
    def configured(self) -> bool:
        """Whether there is any identity provider."""
        return bool(self._issuers)

    def start(self) -> None:
        """Fetch keys now and from now on."""
        if self._issuers:
            self._refreshing.start(REFRESH_S).addErrback(
                lambda failure: self._log.failure("Keys of identity providers are fetched no more", failure)
            )

    def stop(self) -> None:
        """Fetch no more keys."""
        if self._refreshing.running:
            self._refreshing.stop()
        for issuer in self._issuers.values():
            issuer.keys.stop()

    def verify(self, text: bytes, now_ms: int) -> Person:
        """
        Whom an identity token is about.

        Args:
            text: As the caller sent it.
            now_ms: UTC, milliseconds since the epoch.
        Raises:
            Unauthorized: It is not to be believed; the text says why, and repeats nothing of it.
            IdentityNotReady: The key that signed it is being fetched.
        """
        if len(text) > TOKEN_BYTES:
            raise Unauthorized("the identity token is too long")
        digest = hashlib.sha256(text).digest()
        person = self._verified.get(digest)
        if person is not None:
            if person.in_force(now_ms):
                return person
            del self._verified[digest]
        header, claims = _decoded(text)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise Unauthorized("the identity token is of an unknown issuer")
        person = issuer.verify(text.decode("ascii"), header, now_ms)
        if len(self._verified) >= REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = person
        return person

    def _refresh(self) -> None:
        for issuer in self._issuers.values():
            issuer.keys.fetch()

    def _changed(self) -> None:
        self.version += 1


def looks_like_identity(text: bytes) -> bool:
    """Whether a credential is spelt like a JWT."""
    return text.startswith(b"eyJ") and text.count(b".") == 2


def _decoded(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not yet believed."""
    try:
        header, claims, _ = text.split(b".")
        return _object(header), _object(claims)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Unauthorized("the identity token cannot be read") from error


def _object(part: bytes) -> dict[str, Any]:
    if not part.isascii():
        raise binascii.Error
    return msgspec.json.decode(urlsafe_b64decode(part + b"=" * (-len(part) % 4)), type=dict[str, Any])


def _moment_ms(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise Unauthorized("the identity token has a time that is none")
    return int(value * 1000)


def _text(value: object) -> str:
    """A claim as text; empty when it is none. Numbers are taken as ids."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return "".join(character for character in str(value)[:200] if character.isprintable())


def _texts(value: object) -> list[str]:
    """A claim that may be one text or a list of them."""
    if isinstance(value, bool):
        return [str(value).lower()]
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values[:1000] if isinstance(one, str | int) and not isinstance(one, bool)]


def _custom(claims: Mapping[str, Any], settings: IdentitySettings) -> dict[str, Any]:
    if "*" not in settings.custom_claims:
        return {name: claims[name] for name in settings.custom_claims if name in claims}
    return {name: value for name, value in claims.items() if name not in _REGISTERED}
