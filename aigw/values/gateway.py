"""A gateway's settings, by Cloudflare's field names (section 7.2 of its API)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

# `\Z`, because `$` would let a line end through.
GatewayName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What an owner sets on one gateway.

    A field that no stage reads yet is still kept and checked, so that a declaration written for Cloudflare is accepted
    as it stands; "kept" below means that nothing reads it yet.

    Attributes:
        id: The gateway's name in every address.
        account: The account that it belongs to, as in every address.
        authentication: Whether callers must show a token with the scope `run`.
        collect_logs: Whether each request leaves a log row; usage is counted in any case.
        cache_ttl: Kept. Seconds that an answer may be served from the cache; 0 is off.
        cache_invalidate_on_update: Kept. Whether a change of these settings empties the cache.
        rate_limiting_limit: Kept. Requests per interval; 0 is off.
        rate_limiting_interval: Kept. Seconds of the interval.
        rate_limiting_technique: Kept. Whether intervals follow each other or slide.
        byok_only: Kept. Whether only the caller's own or stored provider keys are used.
        zdr: Kept. Zero data retention at the provider.
        workers_ai_billing_mode: Kept. How Workers AI is billed.
        retry_max_attempts: Kept. Tries of one step.
        retry_delay: Kept. Milliseconds between two tries.
        retry_backoff: Kept. How the delay grows.
        log_management: Kept. The number of logs from which on the strategy applies.
        log_management_strategy: Kept. What happens at that number.
        log_classification: Kept. Whether logs are sorted by subject.
        logpush: Kept. Whether logs are exported.
        logpush_public_key: Kept. What exported logs are encrypted with.
        store_id: Kept. The store of provider keys.
    """

    id: GatewayName
    account: GatewayName = "local"
    authentication: bool = True
    collect_logs: bool = True
    cache_ttl: Count | None = 0
    cache_invalidate_on_update: bool = False
    rate_limiting_limit: Count | None = 0
    rate_limiting_interval: Count | None = 0
    rate_limiting_technique: Literal["fixed", "sliding"] | None = "fixed"
    byok_only: bool = False
    zdr: bool = False
    workers_ai_billing_mode: Literal["postpaid", "unified"] = "postpaid"
    retry_max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    retry_delay: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    retry_backoff: Literal["constant", "linear", "exponential"] | None = None
    log_management: Annotated[int, msgspec.Meta(ge=10_000)] | None = None
    log_management_strategy: Literal["STOP_INSERTING", "DELETE_OLDEST"] | None = None
    log_classification: bool = False
    logpush: bool = False
    logpush_public_key: str | None = None
    store_id: str | None = None
