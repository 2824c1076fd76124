"""
Google's service accounts: a signed statement is exchanged for an access token.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import attrs
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.defer import Deferred

from aigw.errors import InvalidField
from aigw.interfaces import ICredentials, IOutboundHTTP
from aigw.providers.bearer import MintedBearer
from aigw.providers.credentials import CredentialParts, CredentialScheme, header, json_credential
from aigw.providers.minting import AccessToken, TokenMint, ask_token_endpoint
from aigw.providers.peek import peek
from aigw.providers.settings import ProviderSettings
from aigw.values.step import Headers

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# The longest that Google takes.
STATEMENT_S = 3600

# Google's keys have 2048. A signature with 4096 takes 3 ms of the reactor's time, with 16384 it would take a second.
_KEY_BITS = range(2048, 4097)


class _Json(msgspec.Struct):
    client_email: Any = None
    private_key: Any = None
    private_key_id: Any = None


_json = msgspec.json.Decoder(_Json)


@attrs.frozen
class ServiceAccount:
    """
    Who asks for tokens.

    Attributes:
        email: Names the account.
        key_id: Names the key, empty when unknown.
        key: Signs.
    """

    email: str
    key_id: str
    key: rsa.RSAPrivateKey = attrs.field(repr=False)


def read_service_account(text: bytes) -> ServiceAccount:
    """
    Read a service account's JSON. An address in it is not asked: nothing in a request names a host.

    Args:
        text: As Google gives it to download; further members, such as a `region`, are passed over.
    Raises:
        ValueError: What it lacks; nothing of its content is repeated.
    """
    told = peek(_json, text)
    if told is None:
        raise ValueError("it is no JSON object")
    if not isinstance(told.client_email, str) or not told.client_email:
        raise ValueError("it has no client_email")
    if not isinstance(told.private_key, str):
        raise ValueError("it has no private_key")
    key_id = told.private_key_id if isinstance(told.private_key_id, str) else ""
    return ServiceAccount(told.client_email, key_id, _read_key(told.private_key))


def _read_key(pem: str) -> rsa.RSAPrivateKey:
    try:
        # Its own validation tests whether the primes are prime, which takes 40 ms at 2048 bits and 250 at 4096, with
        # the reactor blocked. The key signs for whoever brought it, and what makes no sense is refused below.
        key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("its private_key cannot be read") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in _KEY_BITS:
        raise ValueError("its private_key is no RSA key of 2048 to 4096 bits")
    if not _fits_together(key.private_numbers()):
        raise ValueError("its private_key does not fit together")
    return key


def _fits_together(numbers: rsa.RSAPrivateNumbers) -> bool:
    """All that validation checks but for the primes."""
    p, q, d = numbers.p, numbers.q, numbers.d
    public = numbers.public_numbers
    return (
        min(p, q) > 2
        and p % 2 == q % 2 == 1
        and p * q == public.n
        and (public.e * d) % (p - 1) == 1
        and (public.e * d) % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and (numbers.iqmp * q) % p == 1
    )


def statement(account: ServiceAccount, audience: str, now_s: float) -> bytes:
    """
    The signed statement (a JWT, RS256) that is exchanged for a token.

    Args:
        account: Signs.
        audience: Address of the token endpoint.
        now_s: Seconds since the epoch.
    """
    head = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.key_id} if account.key_id else {})
    issued = int(now_s)
    claims = {
        "iss": account.email,
        "scope": SCOPE,
        "aud": audience,
        "iat": issued,
        "exp": issued + STATEMENT_S,
    }
    signed = _segment(msgspec.json.encode(head)) + b"." + _segment(msgspec.json.encode(claims))
    return signed + b"." + _segment(account.key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))


def _segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class GoogleSource:
    """
    Mints tokens for the service account of the client or of the operator; other credentials pass.

    Args:
        account: The operator's JSON, empty without one.
        token_url: Of the token endpoint.
        parts: See there.
    """

    def __init__(self, account: bytes, token_url: str, parts: CredentialParts) -> None:
        self._account = account
        self._token_url = token_url
        self._outbound: IOutboundHTTP = parts.outbound
        self._utc_s: Callable[[], float] = parts.utc_s
        self._mint = TokenMint(parts.monotonic_s)

    def credentials(self, endpoint: str, headers: Headers) -> ICredentials | None:
        """See `CredentialSource`."""
        sent = header(headers, b"authorization")
        text = self._account if sent is None else json_credential(sent)
        if not text or (sent is None and _has_key(endpoint, headers)):
            return None
        # The digest stands for the account, so that its key is read only when a token is needed.
        return MintedBearer(self._mint, hashlib.sha256(text).digest(), lambda: self._ask(text))

    def _ask(self, text: bytes) -> Deferred[AccessToken]:
        try:
            account = read_service_account(text)
        except ValueError as error:
            raise InvalidField(f"headers: the service account in authorization cannot be used: {error}") from None
        assertion = statement(account, self._token_url, self._utc_s()).decode()
        form = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
        return Deferred.fromCoroutine(ask_token_endpoint(self._outbound, self._token_url, form, "Google"))


def _has_key(endpoint: str, headers: Headers) -> bool:
    """Whether the request has an API key, as Vertex AI's express mode wants one."""
    query = endpoint.partition("?")[2]
    return header(headers, b"x-goog-api-key") is not None or any(part[:4] == "key=" for part in query.split("&"))


def google_source(settings: ProviderSettings, parts: CredentialParts) -> GoogleSource:
    """The source for an operator's settings."""
    return GoogleSource(settings.service_account.encode(), settings.token_url or TOKEN_URL, parts)


def _check(settings: ProviderSettings) -> Iterator[str]:
    if settings.service_account:
        try:
            read_service_account(settings.service_account.encode())
        except ValueError as error:
            yield f"service_account: {error}"


SERVICE_ACCOUNT = CredentialScheme(google_source, ("service_account",), ("token_url",), _check)
