"""What a client is told when a limit has no room, or cannot be checked."""

from __future__ import annotations

from aigw.controls.limit import Limit, Overrun
from aigw.controls.visit import Visit
from aigw.errors import ControlUnavailable, GatewayError
from aigw.values.step import Headers


def passes(limit: Limit, visit: Visit) -> bool:
    """Whether a step passes a limit whose counter cannot be reached."""
    if limit.open is not None:
        return limit.open
    gateway = visit.gateway
    choice = gateway.spend_limits_when_down if limit.unit == "usd" else gateway.rate_limits_when_down
    return choice == "open"


def unavailable() -> GatewayError:
    """A limit's counter cannot be reached, and the owner refuses then."""
    error = ControlUnavailable()
    error.headers = ((b"retry-after", b"1"),)
    return error


def refusal(limit: Limit, visit: Visit, used: int, retry_after_s: int) -> GatewayError:
    """The error of a limit without room."""
    error = limit.refusal(Overrun(used, limit.limit, retry_after_s), visit)
    if not error.headers:
        error.headers = ((b"retry-after", b"%d" % retry_after_s),)
    if limit.unit != "usd":
        error.headers += rate_headers(limit, limit.limit - used, retry_after_s)
    return error


def rate_headers(limit: Limit, remaining: int, reset_s: int) -> Headers:
    """`RateLimit-*` of a limit."""
    return (
        (b"ratelimit-limit", b"%d" % limit.limit),
        (b"ratelimit-remaining", b"%d" % max(0, remaining)),
        (b"ratelimit-reset", b"%d" % reset_s),
    )
