"""Asks a provider for an address that it should refuse."""

from __future__ import annotations

from aigw.errors import InvalidField
from aigw.providers.provider import Provider
from aigw.values.step import Headers

# In the form of Cloudflare's account ids.
ACCOUNT = "0123456789abcdef0123456789abcdef"


def refused(provider: Provider, endpoint: str, headers: Headers = ()) -> bool:
    """Whether a provider refuses an endpoint."""
    try:
        provider.address(endpoint, headers, ACCOUNT)
    except InvalidField:
        return True
    return False
