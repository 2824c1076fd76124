"""The addresses of the data port, taken apart."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import attrs

from aigw.errors import NotFound

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Address:
    """
    `/v1/{account}/{gateway}`, and for a provider's own API `/{provider}/{rest}` behind it.

    Attributes:
        account, gateway: Names.
        provider: Slug, empty for the universal endpoint.
        endpoint: Path below the provider with its query string, as the client wrote it.
    """

    account: str
    gateway: str
    provider: str = ""
    endpoint: str = ""


def read_address(uri: bytes) -> Address:
    """
    Take the target of a request apart.

    Args:
        uri: As in the request line.
    Raises:
        NotFound: It names no gateway.
    """
    path, mark, query = uri.partition(b"?")
    segments = path.split(b"/", 5)
    if len(segments) < 4 or segments[0] or segments[1] != b"v1":
        raise NotFound()
    account, gateway = _name(segments[2]), _name(segments[3])
    if len(segments) < 5 or (len(segments) == 5 and not segments[4]):
        return Address(account, gateway)
    provider = _name(segments[4])
    rest = segments[5] if len(segments) > 5 else b""
    if rest.startswith(b"/"):
        # Some servers would take what follows two slashes for a host.
        raise NotFound("the path holds an empty segment")
    return Address(account, gateway, provider, (rest + mark + query).decode("latin-1"))


def _name(segment: bytes) -> str:
    name = unquote_to_bytes(segment).decode("latin-1")
    if not _NAME.fullmatch(name):
        raise NotFound()
    return name
