"""Signatures for Bedrock, with the keys of the operator or of the client."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import gmtime, strftime
from urllib.parse import quote, unquote_to_bytes

import attrs
import msgspec
from zope.interface import implementer

from aigw.codecs.sigv4 import AwsKeys, Scope, signed
from aigw.errors import InvalidField
from aigw.interfaces import ICredentials
from aigw.providers.credentials import CredentialParts, CredentialScheme, header, json_credential, with_header
from aigw.providers.peek import peek
from aigw.providers.settings import ProviderSettings
from aigw.values.step import Headers, UpstreamRequest

# What stands before the region in a path, and the name by which signatures know it.
SERVICES = {"bedrock-runtime": "bedrock", "bedrock-mantle": "bedrock-mantle"}

# As in `us-east-1` and `us-gov-west-1`. Other labels there are other services: `bedrock-runtime.s3.amazonaws.com` is
# a bucket that anybody may own.
REGION = r"[a-z]{2,8}(-[a-z]{2,12}){1,3}-[0-9]{1,2}"

_MANTLE_MESSAGES = re.compile(r"/?bedrock-mantle/[^/]+/anthropic/")
_PLAIN = re.compile(r"[\x21-\x7e]+")


class _ClientKeys(msgspec.Struct):
    access_key_id: str = msgspec.field(name="accessKeyId", default="")
    secret_access_key: str = msgspec.field(name="secretAccessKey", default="")
    session_token: str | None = msgspec.field(name="sessionToken", default=None)


_client_keys = msgspec.json.Decoder(_ClientKeys)


@implementer(ICredentials)
@attrs.frozen
class Signature:
    """
    Signs requests.

    Attributes:
        keys: Of whoever asks.
        scope: Where the signature holds.
        utc_s: Seconds since the epoch.
    """

    keys: AwsKeys
    scope: Scope
    utc_s: Callable[[], float] = attrs.field(repr=False)

    def prepare(self, request: UpstreamRequest) -> UpstreamRequest:
        """See `ICredentials`."""
        request = msgspec.structs.replace(request, url=_as_sdks_write(request.url))
        # AWS wants its own fields signed; the others may change on the way.
        names = frozenset(name for name, _ in request.headers if name.startswith(b"x-amz") or name == b"content-type")
        date = strftime("%Y%m%dT%H%M%SZ", gmtime(self.utc_s()))
        return msgspec.structs.replace(request, headers=signed(request, names, self.keys, self.scope, date))


@implementer(ICredentials)
class KeyHeader:
    """Moves a bearer into the header where Anthropic's interface looks for it."""

    def prepare(self, request: UpstreamRequest) -> UpstreamRequest:
        """See `ICredentials`."""
        bearer = (header(request.headers, b"authorization") or b"").partition(b" ")[2].strip()
        kept = tuple(field for field in request.headers if field[0] != b"authorization")
        return msgspec.structs.replace(request, headers=with_header(kept, b"x-api-key", bearer))


class AwsSource:
    """
    Decides who signs: the client itself, or the gateway with the keys that the client or the operator gives.

    Args:
        keys: The operator's, None without any.
        region: For paths that name none.
        utc_s: Seconds since the epoch.
    """

    def __init__(self, keys: AwsKeys | None, region: str, utc_s: Callable[[], float]) -> None:
        self._keys = keys
        self._region = region
        self._utc_s = utc_s

    def credentials(self, endpoint: str, headers: Headers) -> ICredentials | None:
        """See `CredentialSource`."""
        sent = header(headers, b"authorization")
        keys = self._keys
        if sent is not None:
            text = json_credential(sent)
            if text is None:
                # Signed by the client, or a Bedrock API key.
                moved = sent[:7].lower() == b"bearer " and _MANTLE_MESSAGES.match(endpoint)
                return KeyHeader() if moved else None
            keys = _read_keys(text)
        elif header(headers, b"x-api-key") is not None:
            return None
        return None if keys is None else Signature(keys, self._scope(endpoint), self._utc_s)

    def _scope(self, endpoint: str) -> Scope:
        first, _, rest = endpoint.partition("?")[0].lstrip("/").partition("/")
        region = rest.partition("/")[0] if first in SERVICES else self._region
        if not re.fullmatch(REGION, region):
            raise InvalidField("endpoint does not name a region of aws-bedrock")
        return Scope(region, SERVICES.get(first, "bedrock"))


def aws_source(settings: ProviderSettings, parts: CredentialParts) -> AwsSource:
    """The source for an operator's settings."""
    keys = None
    if settings.access_key_id:
        keys = AwsKeys(settings.access_key_id, settings.secret_access_key, settings.session_token)
    return AwsSource(keys, settings.region, parts.utc_s)


AWS_KEYS = CredentialScheme(aws_source, ("access_key_id", "secret_access_key"), ("session_token", "region"))


def _read_keys(text: bytes) -> AwsKeys:
    told = peek(_client_keys, text) or _ClientKeys()
    values = (told.access_key_id, told.secret_access_key, told.session_token or "")
    if not all(map(_PLAIN.fullmatch, values[:2])) or not _PLAIN.fullmatch(values[2] or "-"):
        raise InvalidField("headers: a credential for AWS in authorization needs accessKeyId and secretAccessKey")
    return AwsKeys(*values)


def _as_sdks_write(url: bytes) -> bytes:
    """
    A URL whose path is encoded as AWS's SDKs do it.

    `claude-v2:1` and `claude-v2%3A1` are one path, but two signatures; with the spelling of the SDKs nothing is left
    to how AWS reads the others.
    """
    base, _, rest = url.decode("ascii").partition("://")
    host, _, target = rest.partition("/")
    path, mark, query = target.partition("?")
    path = "/".join(quote(unquote_to_bytes(segment), safe="~") for segment in path.split("/"))
    return f"{base}://{host}/{path}{mark}{query}".encode("ascii")
