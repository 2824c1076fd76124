"""A gateway's settings, by Cloudflare's field names (section 7.2 of its API)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from aigw.values.limits import LimitRule

# `\Z`, because `$` would let a line end through.
GatewayName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0)]


WhenDown = Literal["open", "closed"]


class SpendFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        mode: `partition` keeps a counter for each value, `filter` holds the rule to the values listed.
        values: For `filter`.
    """

    mode: Literal["partition", "filter"]
    values: tuple[str, ...] = ()


class SpendRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """
    One budget (section 5.11 of Cloudflare's reference).

    Attributes:
        limit: US dollars in a window.
        limit_type: What is counted.
        window: Seconds.
        id: Names it; empty: its number.
        enabled: Whether it holds.
        technique: `fixed` windows are aligned to the clock; a `sliding` one ends now.
        metadata: By key.
        model, provider: Only these.
    """

    limit: Annotated[float, msgspec.Meta(gt=0)]
    limit_type: Literal["cost"]
    window: Annotated[int, msgspec.Meta(ge=1, le=31_622_400)]
    id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    enabled: bool = True
    technique: Literal["fixed", "sliding"] = "fixed"
    metadata: dict[str, SpendFilter] = {}
    model: SpendFilter | None = None
    provider: SpendFilter | None = None


class SpendLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        enabled: Whether any of them holds.
        rules: At most 20.
    """

    enabled: bool = True
    rules: Annotated[tuple[SpendRule, ...], msgspec.Meta(max_length=20)] = ()


class SemanticCache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        url: Of an OpenAI-compatible embeddings endpoint.
        model: Asked for there.
        dimensions: Of its vectors.
        threshold: Cosine distance up to which two questions mean the same; 0 is equal.
        api_key_env: Environment variable that holds the endpoint's key; empty for none.
        ttl: Seconds that an answer may be found.
    """

    url: str
    model: str
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    threshold: Annotated[float, msgspec.Meta(gt=0, le=2)] = 0.1
    api_key_env: str = ""
    ttl: Annotated[int, msgspec.Meta(ge=60, le=2_678_400)] = 3600


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
        spend_limits: Budgets by model, provider and metadata.
        spend_webhook: Address that is told when 50, 80 and 100 % of a budget are spent.
        unpriced_models: What a spend limit does with a model whose price is not known.
        rate_limits: Beyond the one above: by token, metadata, provider or model; of requests, tokens or dollars.
        rate_limits_when_down, spend_limits_when_down, policies_when_down: Whether requests pass (`open`) or are refused
            (`closed`) while the counters cannot be reached.
        locked: Names of `cf-aig-*` headers that no caller sets; `*` stands for all that change a setting.
        cache_single_flight: Whether identical requests in flight share one call to the provider.
        cache_stale_if_error: Seconds beyond its time that an answer is given when the provider fails.
        cache_replay: Whether a cached stream is given event by event, or at once.
        cache_without_ttl: Whether `cf-aig-cache-ttl` alone switches the cache on where `cache_ttl` is 0.
        semantic_cache: Answers to questions that mean the same; None is off.
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
    spend_limits: SpendLimits | None = None
    spend_webhook: str | None = None
    unpriced_models: Literal["allow", "estimate", "refuse"] = "allow"
    rate_limits: tuple[LimitRule, ...] = ()
    rate_limits_when_down: WhenDown = "open"
    spend_limits_when_down: WhenDown = "closed"
    policies_when_down: WhenDown = "open"
    locked: tuple[str, ...] = ()
    cache_single_flight: bool = False
    cache_stale_if_error: Count = 0
    cache_replay: Literal["events", "at_once"] = "events"
    cache_without_ttl: bool = False
    semantic_cache: SemanticCache | None = None
