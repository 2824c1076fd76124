"""The public keys of one identity provider: fetched at the start, now and then, and when an unknown one turns up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from aigw.errors import GatewayError, IdentityNotReady
from aigw.interfaces import IOutboundHTTP

REFRESH_S = 300.0
# Anybody can invent key ids, so what an unknown one sets off is bounded.
UNKNOWN_S = 10.0
TIMEOUT_S = 10.0
ANSWER_BYTES = 262_144
MOST_KEYS = 100
_RSA_BITS = 2048

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@attrs.frozen(eq=False)
class PublicKey:
    """
    Attributes:
        algorithms: What can be signed with it; a token's own word does not count.
        key: For PyJWT.
        source: The key as it was published; a key that is published again is the same object.
    """

    algorithms: frozenset[str]
    key: Any
    source: bytes


class IdentityKeys:
    """
    Keys by their ids.

    Args:
        url: Of the key set.
        outbound: Asks for it.
        seconds: A clock that never goes back.
        changed: Called when a key has come or gone.
    """

    _log = Logger()

    def __init__(
        self, url: str, outbound: IOutboundHTTP, seconds: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._url = url
        self._outbound = outbound
        self._seconds = seconds
        self._changed = changed
        self._keys: dict[str, PublicKey] = {}
        self._fetching: Deferred[None] | None = None
        self._began_s: float | None = None
        self._fetched = False

    def find(self, kid: str | None) -> PublicKey | None:
        """
        The key of an id.

        Args:
            kid: As the token says; None when it says nothing, which will do where there is one key only.
        Returns:
            None for a key that the provider does not have.
        Raises:
            IdentityNotReady: It is being asked.
        """
        if kid is None:
            if len(self._keys) == 1:
                return next(iter(self._keys.values()))
        elif kid in self._keys:
            return self._keys[kid]
        if self._began_s is None or self._seconds() - self._began_s >= UNKNOWN_S:
            self.fetch()
        if self._fetching is not None or not self._fetched:
            error = IdentityNotReady()
            error.headers = ((b"retry-after", b"1"),)
            raise error
        # The set has just been fetched: there was an answer without this key.
        return self._keys.get(kid) if kid is not None else None

    def holds(self, key: PublicKey) -> bool:
        """Whether a key that was found earlier is still published."""
        return key in self._keys.values()

    def fetch(self) -> None:
        """Ask for the keys, unless that is under way; what fails is told in the log, and the earlier keys stay."""
        if self._fetching is not None:
            return
        self._began_s = self._seconds()
        fetching = self._fetching = Deferred.fromCoroutine(self._fetch()).addErrback(self._failed)
        fetching.addBoth(self._over)

    def stop(self) -> None:
        """Ask no more."""
        if self._fetching is not None:
            self._fetching.cancel()

    async def _fetch(self) -> None:
        headers = ((b"accept", b"application/json"),)
        answer = await self._outbound.request(
            b"GET", self._url.encode(), headers, timeout_s=TIMEOUT_S, answer_bytes=ANSWER_BYTES
        )
        if answer.status != 200:
            raise BadKeySet(f"status {answer.status}")
        found = read_key_set(answer.body)
        keys = {kid: self._same(kid, key) for kid, key in found.items()}
        changed = keys != self._keys
        self._keys, self._fetched = keys, True
        if changed:
            self._changed()

    def _same(self, kid: str, key: PublicKey) -> PublicKey:
        known = self._keys.get(kid)
        return known if known is not None and known.source == key.source else key

    def _failed(self, failure: Any) -> None:
        if failure.check(GatewayError, BadKeySet) is not None:
            self._log.warn("No keys from {url}: {why}", url=self._url, why=failure.getErrorMessage())
        elif failure.check(CancelledError) is None:
            self._log.failure("The keys of {url} could not be read", failure, url=self._url)

    def _over(self, result: Any) -> Any:
        self._fetching = None
        return result


class BadKeySet(Exception):
    """An identity provider's answer holds no usable keys."""


def read_key_set(body: bytes) -> dict[str, PublicKey]:
    """
    The keys of a set, by id. What is no public key for signatures, or too weak, is left out.

    Raises:
        BadKeySet: This is no key set, or none of its keys will do.
    """
    try:
        entries = msgspec.json.decode(body, type=dict[str, Any])["keys"]
    except (msgspec.MsgspecError, KeyError, RecursionError, UnicodeDecodeError) as error:
        raise BadKeySet("the answer is no JWK set") from error
    keys: dict[str, PublicKey] = {}
    for entry in entries[:MOST_KEYS] if isinstance(entries, list) else ():
        key = _public_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault(str(entry.get("kid", "")), key)
    if not keys:
        raise BadKeySet("the set holds no public key for signatures")
    return keys


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    # A secret that stands among public keys would turn everybody who reads the set into the issuer.
    if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in entry.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    algorithms = _algorithms(key)
    if isinstance(entry.get("alg"), str):
        algorithms &= {entry["alg"]}
    return PublicKey(algorithms, key, msgspec.json.encode(entry, order="sorted")) if algorithms else None


def _algorithms(key: Any) -> frozenset[str]:
    """What a public key can verify; nothing for a private one, and for one that is too weak."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS:
        return frozenset(f"{family}{bits}" for family in ("RS", "PS") for bits in (256, 384, 512))
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset(filter(None, [_CURVES.get(key.curve.name)]))
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return frozenset(["EdDSA"])
    return frozenset()
