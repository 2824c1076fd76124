"""A vendor's realtime sockets: where they are, and in which positions clients bring the vendor's key."""

from __future__ import annotations

from urllib.parse import unquote

import attrs

from aigw.providers.headers import check_header
from aigw.providers.paths import GATEWAY_TOKEN, Form
from aigw.providers.sessions import Wording
from aigw.values.step import Headers

# Browsers cannot set headers on a WebSocket, so they offer the gateway's token as a subprotocol with this prefix.
GATEWAY_PREFIX = "cf-aig-authorization."


@attrs.frozen
class Realtime:
    """
    Data of one vendor. By default paths are the vendor's own.

    Attributes:
        forms: Ways to write a path that differ; tried before those of the vendor's HTTP addresses.
        wording: Of its messages.
        query_keys: Arguments of the query string that carry the key; it goes on in the vendor's first credential
            header, so that it stands in no URL.
        path_argument: Argument that stands for the path when there is none.
        key_protocols: Subprotocols, or their beginnings, that carry the key and are the vendor's own: they pass.
        key_headers: Names that are only known here, the vendor's header for it, and what stands before the key there.
            As any credential header, they may come as a subprotocol `{name}.{key}`, too.
    """

    forms: tuple[Form, ...] = ()
    wording: Wording = "unknown"
    query_keys: tuple[str, ...] = ()
    path_argument: str = ""
    key_protocols: tuple[str, ...] = ()
    key_headers: tuple[tuple[bytes, bytes, bytes], ...] = ()


@attrs.frozen
class Upgrade:
    """
    What an upgrade becomes on its way to the vendor.

    Attributes:
        url: `https://` or `http://`.
        headers: Names in lower case.
        subprotocols: To be offered.
    """

    url: bytes
    headers: Headers = attrs.field(repr=False)
    subprotocols: tuple[str, ...] = attrs.field(repr=False)


def split_keys(realtime: Realtime, credentials: tuple[bytes, ...], endpoint: str) -> tuple[str, Headers]:
    """
    Take the key out of an endpoint's query string.

    Args:
        realtime: Of the vendor.
        credentials: Names of the vendor's credential headers.
        endpoint: As the client wrote it.
    Returns:
        The endpoint without it, its path put in where an argument stands for it; and the key as a header.
    """
    path, _, query = endpoint.partition("?")
    found: Headers = ()
    rest = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        plain = unquote(value.replace("+", " "))
        if name in realtime.query_keys:
            found = ((credentials[0], plain.encode("utf-8", "replace")),)
        elif name == realtime.path_argument and name and not path.strip("/"):
            # A question mark in it is no beginning of a query: left encoded, it is refused with the path.
            path = plain.replace("?", "%3F")
        else:
            rest.append(part)
    return (f"{path}?{'&'.join(rest)}" if rest else path), found


def split_protocols(
    realtime: Realtime, credentials: tuple[bytes, ...], offered: list[str]
) -> tuple[tuple[str, ...], Headers, bool]:
    """
    Take the keys out of the subprotocols that a client offers.

    Args:
        realtime: Of the vendor.
        credentials: Names of the vendor's credential headers.
        offered: In the client's order.
    Returns:
        What is offered to the vendor, in which no token of this gateway stands; keys as headers; whether the vendor
        finds a key in what is offered.
    """
    names = (*credentials, *(name for name, _, _ in realtime.key_headers))
    passed: list[str] = []
    found: list[tuple[bytes, bytes]] = []
    for text in offered:
        header = next((name for name in names if text.lower().startswith(name.decode("ascii") + ".")), None)
        if text.lower().startswith(GATEWAY_PREFIX) or GATEWAY_TOKEN.search(text):
            continue
        if header is not None:
            found.append((header, text[len(header) + 1 :].encode("ascii")))
        else:
            passed.append(text)
    has_key = any(text.startswith(realtime.key_protocols) for text in passed)
    return tuple(passed), tuple(found), has_key


def renamed(realtime: Realtime, headers: Headers) -> Headers:
    """Headers whose names are only known here, as the vendor has them."""
    known = {name: (real, before) for name, real, before in realtime.key_headers}
    result = []
    for name, value in headers:
        name = name.lower()
        check_header(name, value)
        real, before = known.get(name, (name, b""))
        result.append((real, before + value))
    return tuple(result)
