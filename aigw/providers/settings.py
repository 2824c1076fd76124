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


_ELSEWHERE = " `file:PATH` and `env:NAME` are looked up."

# Settings that may stand elsewhere: the value may be `file:PATH` or `env:NAME`.
SECRETS = (
    "access_key_id",
    "secret_access_key",
    "session_token",
    "service_account",
    "tenant_id",
    "client_id",
    "client_secret",
)
# Settings that make credentials, for the vendors that take them.
MAKING = (*SECRETS, "region", "token_url")


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

    prices: Annotated[
        str,
        Meta(
            description="Whose prices hold, by the vendor's slug, such as `openai` for a custom-... provider that "
            "resells its models. Absent: the vendor's own; a custom-... provider has none, and its cost is unknown."
        ),
    ] = ""

    access_key_id: Annotated[
        str, Meta(description="AWS access key with which the gateway signs (aws-bedrock)." + _ELSEWHERE)
    ] = ""
    secret_access_key: Annotated[str, Meta(description="The secret of that key." + _ELSEWHERE)] = ""
    session_token: Annotated[str, Meta(description="The session of temporary AWS keys." + _ELSEWHERE)] = ""
    region: Annotated[
        str, Meta(description="AWS region for paths that name none (aws-bedrock).", pattern=r"^([a-z0-9-]{1,63})?$")
    ] = ""
    service_account: Annotated[
        str,
        Meta(
            description="JSON of a Google service account, for which tokens are minted (google-vertex-ai)." + _ELSEWHERE
        ),
    ] = ""
    tenant_id: Annotated[
        str, Meta(description="Microsoft Entra tenant whose tokens are used (azure-openai, azure)." + _ELSEWHERE)
    ] = ""
    client_id: Annotated[str, Meta(description="Application in that tenant." + _ELSEWHERE)] = ""
    client_secret: Annotated[str, Meta(description="The application's secret." + _ELSEWHERE)] = ""
    token_url: Annotated[
        str, Meta(description="Token endpoint in the place of Google's or Microsoft's; plain http is allowed.")
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
        if self.token_url and (wrong := _base_url_problem(self.token_url)):
            yield f"token_url: {wrong}"
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
