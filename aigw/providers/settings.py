"""What an operator may set on a provider: `[providers.<slug>]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from aigw.errors import InvalidField
from aigw.providers.headers import check_header, holds_gateway_token, is_ours
from aigw.values.step import Headers

SCHEMES = ("http", "https", "sandbox")

_HOST = re.compile(r"[A-Za-z0-9.{}_-]+|\[[0-9A-Fa-f:.]+\]")
_PATH = re.compile(r"[A-Za-z0-9/!$&'()*+,;=:@._~%{}-]*")


class ProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[providers.<slug>]` table of the configuration."""

    base_url: Annotated[
        str | None,
        Meta(
            description="Address in the place of the vendor's; plain http and private addresses are allowed. Required "
            "for custom-... providers, which it makes."
        ),
    ] = None
    headers: Annotated[
        dict[str, str],
        Meta(description="Headers added to every request; a credential that the client sent itself is kept."),
    ] = {}
    account: Annotated[
        str,
        Meta(
            description="Account at the vendor, where its address needs one (workers-ai).", pattern=r"^[A-Za-z0-9_-]*$"
        ),
    ] = ""

    def __repr__(self) -> str:
        # The headers may hold keys, and representations end in logs.
        return f"ProviderSettings(base_url={self.base_url!r}, headers={sorted(self.headers)!r})"

    @property
    def fixed(self) -> Headers:
        """The headers as they are sent."""
        return tuple((name.lower().encode(), value.encode()) for name, value in self.headers.items())

    def problems(self) -> Iterator[str]:
        """What is wrong, each with its key below the provider's table; never a value of a header."""
        if self.base_url is not None:
            wrong = _base_url_problem(self.base_url)
            if wrong:
                yield f"base_url: {wrong}"
        for name, value in self.headers.items():
            try:
                check_header(name.lower().encode(), value.encode())
            except (InvalidField, UnicodeEncodeError):
                yield f"headers.{name[:64]!r}: the name or the value cannot be sent"
                continue
            if is_ours(name.lower().encode()):
                yield f"headers.{name}: the gateway sets this header itself"
            elif holds_gateway_token(value.encode()):
                yield f"headers.{name}: a token of this gateway never goes to a provider"


def _base_url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.netloc.partition("@")[2] or parts.netloc, parts.port
    except ValueError:
        return "this is no address"
    if parts.scheme not in SCHEMES:
        return "must begin with https:// or http://"
    if "@" in parts.netloc:
        return "must hold no user name or password; set headers instead"
    if port is not None:
        host = host.rpartition(":")[0]
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path):
        return "the host or the path is none that can be asked"
    if "?" in url or "#" in url:
        return "must end with the path: no '?', no '#'"
    return ""
