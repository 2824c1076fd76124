"""When a failed attempt is made again, and after how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import attrs

from aigw.errors import (
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    GatewayError,
    IdleTimeout,
    ProviderFailed,
    TruncatedStream,
)
from aigw.values.gateway import Gateway
from aigw.values.step import Headers

Backoff = Literal["constant", "linear", "exponential"]

MAX_ATTEMPTS = 5
MAX_DELAY_MS = 60_000
# Cloudflare's pages name no default; this is short enough for a person who waits.
DEFAULT_DELAY_MS = 500

# The provider said itself that the same request may do better later.
_STATUSES = frozenset((408, 409, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
_DECIMAL = re.compile(rb"\d{1,9}(\.\d{1,9})?")
_ERRORS = (ConnectFailed, ConnectTimeout, FirstByteTimeout, IdleTimeout, TruncatedStream)


@attrs.frozen
class RetryPolicy:
    """
    Attributes:
        max_attempts: Calls of one step altogether, the first one included; 1 to 5.
        delay_ms: Before the first retry; 0 to 60,000.
        backoff: How the delay grows.
    """

    max_attempts: int = 1
    delay_ms: int = DEFAULT_DELAY_MS
    backoff: Backoff = "constant"


def retry_policy(gateway: Gateway, settings: Mapping[bytes, bytes]) -> RetryPolicy:
    """
    The gateway's policy, under the step's own headers.

    Args:
        gateway: The owner's settings.
        settings: `cf-aig-*` headers; a number out of range is brought into it, anything else is passed over.
    """
    backoff: Backoff = gateway.retry_backoff or "constant"
    asked = settings.get(b"cf-aig-backoff", b"").strip().lower()
    for known in ("constant", "linear", "exponential"):
        if asked == known.encode():
            backoff = known
    delay_ms = DEFAULT_DELAY_MS if gateway.retry_delay is None else gateway.retry_delay
    return RetryPolicy(
        _number(settings.get(b"cf-aig-max-attempts"), gateway.retry_max_attempts or 1, 1, MAX_ATTEMPTS),
        _number(settings.get(b"cf-aig-retry-delay"), delay_ms, 0, MAX_DELAY_MS),
        backoff,
    )


def retry_delay_ms(policy: RetryPolicy, attempt: int, headers: Headers = ()) -> int | None:
    """
    How long to wait before an attempt.

    Args:
        policy: See there.
        attempt: 1 for the first retry.
        headers: Of the failed answer; its `Retry-After` is kept to when it asks for more.
    Returns:
        Milliseconds, at most 60,000; None when the provider asks for more: trying sooner would be in vain.
    """
    asked_ms = _retry_after_ms(headers)
    if asked_ms > MAX_DELAY_MS:
        return None
    factor = {"constant": 1, "linear": attempt, "exponential": 1 << (attempt - 1)}[policy.backoff]
    return max(min(policy.delay_ms * factor, MAX_DELAY_MS), asked_ms)


def may_retry_status(status: int) -> bool:
    """Whether the same request may do better when it is sent again."""
    return status in _STATUSES


def may_retry_error(error: GatewayError) -> bool:
    """Whether a failure without an answer may pass by itself."""
    return isinstance(error, _ERRORS) or type(error) is ProviderFailed


def _retry_after_ms(headers: Headers) -> int:
    """How long the provider wants to be left alone; 0 when it does not say."""
    named = dict(headers)
    told = _decimal(named.get(b"retry-after-ms"), 1)
    if told is None:
        told = _decimal(named.get(b"retry-after"), 1000)
    if told is None and b"retry-after" in named and b"date" in named:
        # Both times are the provider's own, so that its clock and ours need not agree.
        try:
            until, now = (parsedate_to_datetime(named[name].decode("latin-1")) for name in (b"retry-after", b"date"))
            told = max(0, int((until - now).total_seconds() * 1000))
        except (ValueError, TypeError):
            return 0
    return told or 0


def _decimal(text: bytes | None, factor: int) -> int | None:
    text = (text or b"").strip()
    return int(float(text) * factor) if _DECIMAL.fullmatch(text) else None


def _number(text: bytes | None, default: int, least: int, most: int) -> int:
    text = (text or b"").strip()
    # Bytes count only the ten ASCII digits as such.
    return min(max(int(text[:64]), least), most) if text.isdigit() else default
