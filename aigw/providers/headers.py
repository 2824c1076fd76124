"""Which headers go to a provider."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from aigw.errors import InvalidField
from aigw.values.step import Headers

USER_AGENT = b"aigw"

# Of the connection (RFC 9110, 7.6.1), of the body's framing, or of the gateway's own affairs.
_DROPPED = frozenset(
    b"""
    connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade
    host content-length expect accept-encoding cookie cookie2 forwarded via x-real-ip true-client-ip cdn-loop
    x-client-ip x-cluster-client-ip fastly-client-ip x-envoy-external-address
    """.split()
)
# What a proxy in front of the gateway adds about the caller, or as its own credential, is nobody else's business.
_DROPPED_PREFIXES = (
    b"cf-aig-",
    b"cf-access-",
    b"cf-connecting-",
    b"cf-ip",
    b"cf-ray",
    b"cf-visitor",
    b"sec-websocket-",
    b"x-amzn-oidc-",
    b"x-auth-request-",
    b"x-forwarded-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-ms-token-",
)

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# No control character but TAB is allowed (RFC 9110, 5.5). 0x85 is one to software that takes header bytes for Latin-1,
# Autobahn among it, which then reads one header as two.
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f\x85]")
# As in `paths`, for bytes.
_GATEWAY_TOKEN = re.compile(rb"(?<![A-Za-z0-9_])aigw_|aigw_[A-Za-z0-9]{43}")


@lru_cache(maxsize=512)
def _passes(name: bytes) -> bool:
    """
    Whether a header of this name may go to a provider.

    Raises:
        InvalidField: It is no header name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidField(f"headers: {name[:64]!r} is no header name")
    if name in _DROPPED or name.startswith(_DROPPED_PREFIXES):
        return False
    # `cf-cache-ttl` and `cf-skip-cache` are settings of the gateway, spelled as they were before `cf-aig-`.
    return not (name.startswith(b"cf-") and b"cache" in name)


def is_ours(name: bytes) -> bool:
    """Whether the gateway sets (or withholds) the header of this name itself."""
    return not _passes(name)


def check_header(name: bytes, value: bytes) -> None:
    """
    See that a header can be sent at all.

    Raises:
        InvalidField: Its name is no token, or its value holds a control character. The value is not repeated.
    """
    _passes(name)
    if _FORBIDDEN.search(value):
        raise InvalidField(f"headers: the value of {name.decode('ascii')} holds a control character")


def holds_gateway_token(value: bytes) -> bool:
    """Whether one of the gateway's own tokens stands somewhere in a value."""
    if b"%" in value:
        value = unquote_to_bytes(value)
    return b"aigw_" in value and _GATEWAY_TOKEN.search(value) is not None


def outgoing(sent: Headers, fixed: Headers, credentials: tuple[bytes, ...], dropped: bytes = b"") -> Headers:
    """
    Headers for a provider out of those of a step.

    Args:
        sent: The client's. Its credentials pass unchanged, but for the gateway's own tokens.
        fixed: The provider's own and the operator's. They win over the client's, except over a credential it sent.
        credentials: Names of the headers that carry the vendor's credential.
        dropped: Name of one more header that stays here.
    Returns:
        Names in lower case; always with `accept-encoding: identity`, a content type and a user agent.
    Raises:
        InvalidField: A name or value cannot be sent.
    """
    named: list[bytes] = []
    passed: list[tuple[bytes, bytes]] = []
    for name, value in sent:
        name = name.lower()
        if name == b"connection":
            named += [token.strip() for token in value.lower().split(b",")]
        if not _passes(name) or name == dropped:
            continue
        if _FORBIDDEN.search(value):
            raise InvalidField(f"headers: the value of {name.decode('ascii')} holds a control character")
        if not holds_gateway_token(value):
            passed.append((name, value.strip(b" \t")))
    if named:
        passed = [(name, value) for name, value in passed if name not in named]
    present = {name for name, _ in passed}
    if fixed:
        kept = present.intersection(credentials)
        ours = tuple((name, value) for name, value in fixed if name not in kept)
        replaced = {name for name, _ in ours}
        passed = [(name, value) for name, value in passed if name not in replaced]
        passed += ours
        present |= replaced
    if b"content-type" not in present:
        passed.append((b"content-type", b"application/json"))
    if b"user-agent" not in present:
        passed.append((b"user-agent", USER_AGENT))
    # Bodies are read along as they pass, and a small compressed answer may hide a huge one.
    passed.append((b"accept-encoding", b"identity"))
    return tuple(passed)
