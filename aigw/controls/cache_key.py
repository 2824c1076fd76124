"""Under which key an answer is kept: what makes two requests the same."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from aigw.controls.visit import Visit
from aigw.values.step import Headers

if TYPE_CHECKING:
    from hashlib import _Hash

# What differs from one request to the next, or from one program to the next, and changes no answer. Everything else
# that is sent to the provider is part of the key: the credential above all, and headers that nobody knows here.
_VOLATILE = frozenset(
    b"""
    user-agent accept-encoding cache-control pragma date age dnt from origin referer priority sec-gpc
    traceparent tracestate baggage b3 sentry-trace uber-trace-id elastic-apm-traceparent newrelic
    request-id correlation-id x-request-id x-client-request-id x-correlation-id x-amzn-trace-id x-cloud-trace-context
    idempotency-key x-idempotency-key x-session-affinity
    """.split()
)
_VOLATILE_PREFIXES = (b"x-stainless-", b"x-b3-", b"x-datadog-", b"x-ot-span-", b"sec-fetch-", b"sec-ch-")

# Requests to the same place with the same headers share the beginning of their digest.
PREFIXES_KEPT = 1024


@lru_cache(maxsize=1024)
def _counts(name: bytes) -> bool:
    """Whether the header of this name may change an answer."""
    return name not in _VOLATILE and not name.startswith(_VOLATILE_PREFIXES)


class CacheKeys:
    """Makes keys, each a SHA-256."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[tuple[object, ...], _Hash] = OrderedDict()

    def of_request(self, visit: Visit, version: int) -> bytes:
        """
        The key of a request: its gateway, provider, address, headers with the credential, and its whole body.

        Args:
            visit: With a body that is held.
            version: Of the gateway's settings; part of the key where a change of them empties the cache.
        """
        digest = self.beginning(visit, version)
        digest.update(visit.request.body)  # type: ignore[arg-type]  # held, as the caller has seen
        return digest.digest()

    def beginning(self, visit: Visit, version: int) -> _Hash:
        """
        The digest of everything but the body.

        Returns:
            A digest of the caller's own, to go on with.
        """
        gateway, request = visit.gateway, visit.request
        headers = tuple([field for field in request.headers if _counts(field[0])])
        parts = (
            gateway.account,
            gateway.id,
            version if gateway.cache_invalidate_on_update else -1,
            visit.target.provider,
            request.method,
            request.url,
            headers,
        )
        known = self._prefixes
        digest = known.get(parts)
        if digest is None:
            digest = known[parts] = _begin(*parts[:-1], *_flat(headers))
            if len(known) > PREFIXES_KEPT:
                known.popitem(last=False)
        else:
            known.move_to_end(parts)
        return digest.copy()


def custom_key(visit: Visit, name: bytes, version: int) -> bytes:
    """
    The key that a caller names. Whatever uses the same name on the same gateway shares an entry, whichever provider,
    model or credential it has.

    Args:
        visit: For the gateway.
        name: Of `cf-aig-cache-key`.
        version: As for `CacheKeys.of_request`.
    """
    gateway = visit.gateway
    version = version if gateway.cache_invalidate_on_update else -1
    return _begin("custom", gateway.account, gateway.id, version, name).digest()


def _flat(headers: Headers) -> list[bytes]:
    """Names and values; the order in which a client sends its headers says nothing."""
    return [part for field in sorted(headers) for part in field]


def _begin(*parts: str | int | bytes) -> _Hash:
    """A digest over parts, each behind its length, so that no two lists of parts look alike."""
    digest = sha256()
    for part in parts:
        text = part if isinstance(part, bytes) else str(part).encode()
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest
