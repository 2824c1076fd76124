"""A request as it goes on the wire: where to, and its head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import attrs

from aigw.errors import InvalidField

_ORIGIN = re.compile(rb"(https?)://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?")
# A space or line break would end the request line early; a fragment is never sent; the rest must be percent-encoded.
_NOT_IN_TARGET = re.compile(rb"[\x00-\x20#\x7f-\xff]")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
# What concerns one connection only, or what the agent says itself: a caller's word on them would split requests.
_OURS = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# CONNECT asks for a tunnel, and TRACE for the request's headers, which hold keys.
_NOT_ASKED = frozenset((b"CONNECT", b"TRACE"))
# Methods that are sent without a Content-Length when they have no body (RFC 9110, section 8.6).
_BODILESS = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS"))
_PORTS = {b"http": 80, b"https": 443}


@attrs.frozen
class Site:
    """
    Where connections go.

    Attributes:
        secure: Whether TLS is spoken.
        host: Name or address, an IPv6 address without its brackets.
        port: TCP port.
        header: Value of the Host field.
    """

    secure: bool
    host: str
    port: int
    header: bytes


def site(origin: bytes) -> Site:
    """
    Read scheme, host and port.

    Args:
        origin: The beginning of a URL, up to its path.
    Raises:
        InvalidField: It is none that this agent can reach: another scheme, a user name, a bad port.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise InvalidField("the provider's address is no http or https URL")
    scheme, host, port_text = match.groups()
    port = int(port_text) if port_text else _PORTS[scheme]
    if not 0 < port < 65_536:
        raise InvalidField("the provider's address has an impossible port")
    header = host if port == _PORTS[scheme] else host + b":%d" % port
    return Site(scheme == b"https", host.strip(b"[]").decode("ascii"), port, header)


def split_url(url: bytes) -> tuple[bytes, bytes]:
    """
    Part a URL into its origin (scheme, host and port) and the request target (path and query string).

    Raises:
        InvalidField: The target holds bytes that no request line may hold.
    """
    if _NOT_IN_TARGET.search(url):
        raise InvalidField("the provider's address holds bytes that must be percent-encoded")
    at = url.find(b"/", url.find(b"://") + 3)
    return (url, b"/") if at < 0 else (url[:at], url[at:])


@lru_cache(4096)
def _prefix(name: bytes) -> bytes:
    """What stands before a field's value; empty for a field that is not the caller's to set."""
    if not _TOKEN.fullmatch(name):
        raise InvalidField("a header for the provider has an impossible name")
    return b"" if name.lower() in _OURS else name + b": "


def request_head(
    method: bytes, target: bytes, host: bytes, headers: Iterable[tuple[bytes, bytes]], body_bytes: int | None
) -> bytes:
    """
    Write a request line and header fields.

    Args:
        method: Upper case.
        target: Path and query string, as `split_url` gives them.
        host: Value of the Host field.
        headers: The caller's fields; those that belong to the connection are left out.
        body_bytes: Length of the body; None for one whose end only its last chunk tells.
    Returns:
        All bytes up to the body.
    Raises:
        InvalidField: A name or value would break out of its line, or the method is none that is asked here.
    """
    if not (method.isalpha() and method.isupper()) or method in _NOT_ASKED:
        raise InvalidField("providers are not asked with this HTTP method")
    lines = [method + b" " + target + b" HTTP/1.1", b"host: " + host]
    encoding_given = False
    for name, value in headers:
        prefix = _prefix(name)
        if prefix:
            lines.append(prefix + value)
            encoding_given = encoding_given or prefix == b"accept-encoding: "
    if not encoding_given:
        # Without it a server may compress as it likes, and nothing here takes that off again.
        lines.append(b"accept-encoding: identity")
    if body_bytes is None:
        lines.append(b"transfer-encoding: chunked")
    elif body_bytes or method not in _BODILESS:
        lines.append(b"content-length: %d" % body_bytes)
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    breaks = len(lines) + 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise InvalidField("a header for the provider holds a line break or NUL")
    return head
