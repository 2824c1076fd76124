"""What a page in a browser may do with the data port."""

from __future__ import annotations

import re

from twisted.web.server import NOT_DONE_YET, Request

from aigw.errors import MalformedRequest, OriginRefused

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_MAX_AGE_S = 86_400

# Headers that SDKs send from pages. Names that begin like these belong to one of them, too.
_ALLOWED = frozenset(
    (
        "accept",
        "accept-language",
        "api-key",
        "authorization",
        "cache-control",
        "cartesia-version",
        "content-language",
        "content-type",
        "helicone-auth",
        "http-referer",
        "idempotency-key",
        "baggage",
        "if-none-match",
        "last-event-id",
        "prefer",
        "range",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-api-key",
        "x-fal-target-url",
        "x-request-id",
        "x-title",
        "x-use-cache",
        "x-wait-for-model",
        "xi-api-key",
    )
)
_ALLOWED_PREFIXES = (
    *("cf-aig-", "anthropic-", "openai-", "parallel-", "amz-sdk-", "x-amz-", "x-amzn-", "x-client-", "x-fal-"),
    *("x-fern-", "x-goog-", "x-grok-", "x-ms-", "x-openrouter-", "x-stainless-"),
)
# What a script may read of an answer.
_EXPOSED = b"*, authorization, " + b", ".join(
    b"cf-aig-" + name
    for name in (b"cache-status", b"event-id", b"log-id", b"model", b"provider", b"request-id", b"step")
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


def origin_of(request: Request) -> str | None:
    """
    The page's origin, None for a program that is no browser.

    Raises:
        MalformedRequest: There are two.
    """
    values = request.requestHeaders.getRawHeaders(b"origin") or []
    if len(values) > 1:
        raise MalformedRequest("more than one `origin` header")
    return values[0].strip().decode("latin-1") if values else None


def check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    """
    Raises:
        OriginRefused: A page of this origin may not call.
    """
    origin = origin_of(request)
    if origin is None or "*" in allowed:
        return
    if origin.lower() not in {entry.lower().rstrip("/") for entry in allowed}:
        raise OriginRefused()


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what it may send, before it sends it."""
    has = request.requestHeaders.hasHeader
    return bool(request.method == b"OPTIONS" and has(b"origin") and has(b"access-control-request-method"))


def allow_origin(request: Request) -> None:
    """Let the page read this answer; its origin was checked before."""
    origin = request.requestHeaders.getRawHeaders(b"origin")
    if origin:
        request.setHeader(b"access-control-allow-origin", origin[0].strip())
        request.setHeader(b"access-control-expose-headers", _EXPOSED)
        request.responseHeaders.addRawHeader(b"vary", b"origin")


def answer_preflight(request: Request) -> int:
    """Say what may be sent, and finish; returns `NOT_DONE_YET`."""
    asked = (request.getHeader(b"access-control-request-headers") or b"").decode("latin-1").lower()
    names = [name for name in (part.strip() for part in asked.split(",")) if _is_allowed(name)]
    allow_origin(request)
    request.setHeader(b"access-control-allow-methods", METHODS)
    request.setHeader(b"access-control-max-age", b"%d" % _MAX_AGE_S)
    if names:
        request.setHeader(b"access-control-allow-headers", ", ".join(names).encode("latin-1"))
    request.setResponseCode(204)
    request.finish()
    return NOT_DONE_YET


def _is_allowed(name: str) -> bool:
    return bool(_TOKEN.fullmatch(name)) and (name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES))
