"""A gateway's settings, by Cloudflare's field names (section 7.2 of its API)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

GatewayName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What an owner sets on one gateway.

    A field that no stage reads yet is still kept and checked, so that a declaration written for Cloudflare is accepted
    as it stands. The settings reference says for each what it does here.
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
