"""Which addresses belong to the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# All that was ever given out for hosts (RFC 4291, section 2.4); what is outside is special or not assigned.
_GIVEN_OUT = IPv6Network("2000::/3")
# Gateways between the two protocols (RFC 6052); the last four bytes are the address that is reached.
_NAT64 = IPv6Network("64:ff9b::/96")


class PrivateAddress(Exception):
    """A connection to an address that is not public was not made."""


def is_public(address: str) -> bool:
    """
    Whether an address is one of the public internet: not private, loopback, link-local, shared, multicast or special,
    and not one of these in the clothes of IPv6.

    Args:
        address: As a resolver gives it, perhaps with a zone.
    Returns:
        False also for what is no address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        inner = _within(parsed)
        if inner is None:
            return parsed in _GIVEN_OUT and parsed.is_global and not parsed.scope_id
        parsed = inner
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, None for one of its own."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
