"""
AWS Signature Version 4.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote, urlsplit

import attrs

from aigw.errors import InvalidField
from aigw.values.step import Headers, UpstreamRequest

ALGORITHM = b"AWS4-HMAC-SHA256"

# What may change on the way, and is therefore never part of a signature.
_UNSIGNED = frozenset((b"authorization", b"expect", b"transfer-encoding", b"user-agent", b"x-amzn-trace-id"))
_REPLACED = frozenset((b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"))


@attrs.frozen
class AwsKeys:
    """
    An identity at AWS.

    Attributes:
        access_key_id: Says who it is.
        secret_access_key: Proves it; never sent.
        session_token: Of temporary keys, else empty.
    """

    access_key_id: str
    secret_access_key: str = attrs.field(repr=False)
    session_token: str = attrs.field(default="", repr=False)


@attrs.frozen
class Scope:
    """
    Where a signature holds.

    Attributes:
        region: Such as `us-east-1`.
        service: Such as `bedrock`; `s3` has rules of its own.
    """

    region: str
    service: str


def signed(request: UpstreamRequest, names: frozenset[bytes], keys: AwsKeys, scope: Scope, amz_date: str) -> Headers:
    """
    The header fields of a request with its signature.

    Args:
        request: Its path as it goes on the wire: percent-encoded, with no empty and no dot segments.
        names: The header fields to sign, in lower case, beside Host and the signature's own; others go unsigned, so
            that they may change on the way.
        keys: Sign.
        scope: Of the signature.
        amz_date: The time in UTC, `YYYYMMDDTHHMMSSZ`.
    Returns:
        All fields of the request, with `authorization` and the `x-amz-` fields that belong to it replaced.
    Raises:
        InvalidField: The body streams through, so that nobody has seen the bytes that would be signed.
    """
    if not isinstance(request.body, bytes):
        raise InvalidField("a body that is too large to be held cannot be signed")
    digest = hashlib.sha256(request.body).hexdigest()
    fields = [field for field in request.headers if field[0] not in _REPLACED]
    own = [(b"x-amz-date", amz_date.encode())]
    if keys.session_token:
        own.append((b"x-amz-security-token", keys.session_token.encode()))
    if scope.service == "s3":
        own.append((b"x-amz-content-sha256", digest.encode()))
    target = urlsplit(request.url.decode("ascii"))
    parts = own + [field for field in fields if field[0] in names and field[0] not in _UNSIGNED]
    listed, canonical = _canonical_headers([*parts, (b"host", _host(target.scheme, target.netloc))])
    canonical_request = b"\n".join(
        (
            request.method,
            _canonical_path(target.path, scope.service).encode(),
            _canonical_query(target.query).encode(),
            canonical,
            b"",
            listed,
            digest.encode(),
        )
    )
    day = f"{amz_date[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = f"{ALGORITHM.decode()}\n{amz_date}\n{day}\n{hashlib.sha256(canonical_request).hexdigest()}"
    signature = hmac.new(_signing_key(keys, scope, amz_date[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
    authorization = b"%b Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        ALGORITHM,
        keys.access_key_id.encode(),
        day.encode(),
        listed,
        signature.encode(),
    )
    return (*fields, *own, (b"authorization", authorization))


def _canonical_path(path: str, service: str) -> str:
    # Every service but S3 wants the path encoded once more than it is on the wire: `%3A` becomes `%253A`.
    return (path if service == "s3" else quote(path, safe="/~")) or "/"


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_headers(fields: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The names of the signed fields, and the fields themselves, each as the signature wants them."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(b" ".join(value.split()))
    names = sorted(values)
    return b";".join(names), b"\n".join(b"%b:%b" % (name, b",".join(values[name])) for name in names)


def _host(scheme: str, netloc: str) -> bytes:
    """The Host field as it is sent: without the port that the scheme has anyway."""
    host, _, port = netloc.rpartition(":")
    usual = host and not port.endswith("]") and port == {"http": "80", "https": "443"}.get(scheme)
    return (host if usual else netloc).encode()


def _signing_key(keys: AwsKeys, scope: Scope, day: str) -> bytes:
    key = b"AWS4" + keys.secret_access_key.encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
