"""Credentials that are more than a header: who makes them, and how a client may bring its own."""

from __future__ import annotations

from typing import Protocol

from aigw.interfaces import ICredentials
from aigw.values.step import Headers


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
