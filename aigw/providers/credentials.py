"""Credentials that are more than a header: who makes them, and how a client may bring its own."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from aigw.interfaces import ICredentials, IOutboundHTTP
from aigw.providers.settings import ProviderSettings
from aigw.values.step import Headers

# The longest is a service account with a key of 4096 bits, encoded once more.
CREDENTIAL_BYTES = 16_384

_BEARER = b"bearer "


class CredentialSource(Protocol):
    """Knows what one provider's requests need before they can be sent."""

    def credentials(self, endpoint: str, headers: Headers) -> ICredentials | None:
        """
        What is to be made for a request.

        Args:
            endpoint: Path below the provider, as the client wrote it.
            headers: As they would go to the vendor, names in lower case.
        Returns:
            None when the request has its credential already, or there is none to be had.
        Raises:
            InvalidField: The client's own credential cannot be read. Its text is not repeated.
        """


@attrs.frozen
class CredentialParts:
    """
    What sources work with.

    Attributes:
        outbound: Asks token endpoints.
        utc_s: Seconds since the epoch, for what is signed.
        monotonic_s: Seconds of a clock that nobody sets, for how old a token is.
    """

    outbound: IOutboundHTTP
    utc_s: Callable[[], float]
    monotonic_s: Callable[[], float]


@attrs.frozen
class CredentialScheme:
    """
    How one vendor's credentials are made, and what an operator may set for it.

    Attributes:
        make: The source for a provider with these settings, secrets read.
        needed: Settings that go together: all of them, or none.
        taken: Further settings.
        check: What is wrong with settings that are there.
    """

    make: Callable[[ProviderSettings, CredentialParts], CredentialSource]
    needed: tuple[str, ...]
    taken: tuple[str, ...] = ()
    check: Callable[[ProviderSettings], Iterator[str]] = lambda settings: iter(())


def header(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first field of a name, in lower case; None when there is none."""
    return next((value for field, value in headers if field == name), None)


def with_header(headers: Headers, name: bytes, value: bytes) -> Headers:
    """Header fields with all of one name replaced by one."""
    return (*(field for field in headers if field[0] != name), (name, value))


def json_credential(authorization: bytes) -> bytes | None:
    """
    The JSON object that a client brings as its credential, plain or in base64, with `Bearer` before it or without.

    Args:
        authorization: Value of the header.
    Returns:
        Text that begins as an object does; None for any other credential.
    """
    text = authorization.strip()
    if text[: len(_BEARER)].lower() == _BEARER:
        text = text[len(_BEARER) :].lstrip()
    if text[:1] == b"{":
        return text
    # Every object begins like this in base64. So do signed tokens, whose dots tell them apart.
    if text[:1] != b"e" or len(text) > CREDENTIAL_BYTES:
        return None
    try:
        plain = binascii.a2b_base64(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), strict_mode=True)
    except binascii.Error:
        return None
    return plain if plain[:1] == b"{" else None
