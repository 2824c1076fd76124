"""The request headers by which a caller sets something (section 4.1 of Cloudflare's reference)."""

from __future__ import annotations

PREFIX = "cf-aig-"
EVERY = "*"

# Spelt without `aig` in the oldest pages; what they are called today.
DEPRECATED = {b"cf-cache-ttl": b"cf-aig-cache-ttl", b"cf-skip-cache": b"cf-aig-skip-cache"}

# They tell who calls, or name the request for its own caller; `*` leaves them alone.
_NAMING = (
    "event-id",
    "metadata",
    "session-id",
    "turn-id",
    "otel-trace-id",
    "otel-parent-span-id",
)
_SETTING = (
    "skip-cache",
    "cache-ttl",
    "cache-key",
    "collect-log",
    "collect-log-payload",
    "custom-cost",
    "request-timeout",
    "max-attempts",
    "retry-delay",
    "backoff",
    "byok-alias",
    "no-wholesale",
    "zdr",
    "no-session-affinity",
    "allowed-models",
    "allowed-providers",
)

# Credentials and addresses: nobody's to lock.
NEVER_LOCKED = frozenset((b"cf-aig-authorization", b"cf-aig-gateway-id"))
LEFT_BY_EVERY = NEVER_LOCKED | {f"{PREFIX}{name}".encode() for name in _NAMING}
LOCKABLE = frozenset(f"{PREFIX}{name}".encode() for name in (*_NAMING, *_SETTING))


def header_name(name: str) -> bytes:
    """
    The header that an owner means.

    Args:
        name: With the prefix `cf-aig-` or without, in any case; also the spellings of old.
    """
    text = name.strip().lower().encode("utf-8", "replace")
    if text in DEPRECATED:
        return DEPRECATED[text]
    return text if text.startswith(b"cf-") else PREFIX.encode() + text
