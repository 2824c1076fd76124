"""A gateway's settings, by Cloudflare's field names (section 7.2 of its API)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from aigw.values.kept_settings import Dlp, Guardrails, OtelTarget, Stripe, Text, Url
from aigw.values.limits import LONGEST_WINDOW_S, LimitRule, RuleId

# `\Z`, because `$` would let a line end through.
GatewayName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
# Whole numbers travel through JSON and PostgreSQL; beyond this not every program reads them alike.
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]

# How long an answer may be kept: section 5.1 of Cloudflare's reference. Where `cache_ttl` is read, it is clamped.
SHORTEST_TTL_S = 60
LONGEST_TTL_S = 2_678_400

WhenDown = Literal["open", "closed"]


class SpendFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        mode: `partition` keeps a counter for each value, `filter` holds the rule to the values listed.
        values: For `filter`, and at least one then.
    """

    mode: Literal["partition", "filter"]
    values: Annotated[tuple[Text, ...], msgspec.Meta(max_length=1000)] = ()


class SpendRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """
    One budget (section 5.11 of Cloudflare's reference).

    Attributes:
        limit: US dollars in a window.
        limit_type: What is counted.
        window: Seconds.
        id: Names it in errors and metrics; its counter is kept under it. Empty: made from the rest.
        enabled: Whether it holds.
        technique: `fixed` windows are aligned to the clock; a `sliding` one ends now.
        metadata: By key.
        model, provider: Only these; `partition` is for metadata only.
    """

    limit: Annotated[float, msgspec.Meta(gt=0, le=1_000_000_000)]
    limit_type: Literal["cost"]
    window: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_WINDOW_S)]
    id: RuleId = ""
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

    url: Url
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    threshold: Annotated[float, msgspec.Meta(gt=0, le=2)] = 0.1
    api_key_env: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,127})?\Z")] = ""
    ttl: Annotated[int, msgspec.Meta(ge=SHORTEST_TTL_S, le=LONGEST_TTL_S)] = 3600


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
        cache_ttl: Seconds that an answer may be served from the cache, brought between a minute and 31 days; 0 is off.
        cache_invalidate_on_update: Whether a change of these settings empties the cache.
        rate_limiting_limit: Requests per interval; 0 is off.
        rate_limiting_interval: Seconds of the interval; beside a limit, 1 at least.
        rate_limiting_technique: Whether intervals follow each other by the clock, or slide.
        byok_only: Kept. Whether only the caller's own or stored provider keys are used.
        zdr: Kept. Zero data retention at the provider.
        workers_ai_billing_mode: Kept. How Workers AI is billed.
        retry_max_attempts: Tries of one step, the first one counted; absent: one.
        retry_delay: Milliseconds between two tries.
        retry_backoff: How the delay grows.
        log_management: Kept. The number of logs from which on the strategy applies.
        log_management_strategy: Kept. What happens at that number.
        log_classification: Kept. Whether logs are sorted by subject.
        logpush: Kept. Whether logs are exported.
        logpush_public_key: Kept. What exported logs are encrypted with.
        store_id: Kept. The store of provider keys.
        guardrails: What is done about hazards; absent: nothing.
        dlp: Data loss prevention; absent: none.
        otel: Where spans are exported to.
        stripe: How usage is billed.
        spend_limits: Budgets by model, provider and metadata.
        spend_webhook: Address (`https://` or `http://`) that is told when 50, 80 and 100 % of a budget are spent.
        unpriced_models: What a spend limit does with a model whose price is not known.
        rate_limits: Beyond the one above: by token, metadata, provider or model; of requests, tokens or dollars.
        rate_limits_when_down, spend_limits_when_down, policies_when_down: Whether requests pass (`open`) or are refused
            (`closed`) while the counters cannot be reached.
        locked: Names of `cf-aig-*` headers, with the prefix or without, that are ignored and named in the answer's
            `cf-aig-locked`; `*` stands for all that change a setting.
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
    rate_limiting_interval: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_WINDOW_S)] | None = 0
    rate_limiting_technique: Literal["fixed", "sliding"] | None = "fixed"
    byok_only: bool = False
    zdr: bool = False
    workers_ai_billing_mode: Literal["postpaid", "unified"] = "postpaid"
    retry_max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    retry_delay: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    retry_backoff: Literal["constant", "linear", "exponential"] | None = None
    log_management: Annotated[int, msgspec.Meta(ge=10_000, le=10_000_000)] | None = None
    log_management_strategy: Literal["STOP_INSERTING", "DELETE_OLDEST"] | None = None
    log_classification: bool = False
    logpush: bool = False
    logpush_public_key: Text | None = None
    store_id: Text | None = None
    guardrails: Guardrails | None = None
    dlp: Dlp | None = None
    otel: Annotated[tuple[OtelTarget, ...], msgspec.Meta(max_length=20)] | None = None
    stripe: Stripe | None = None
    spend_limits: SpendLimits | None = None
    spend_webhook: Url | None = None
    unpriced_models: Literal["allow", "estimate", "refuse"] = "allow"
    rate_limits: Annotated[tuple[LimitRule, ...], msgspec.Meta(max_length=50)] = ()
    rate_limits_when_down: WhenDown = "open"
    spend_limits_when_down: WhenDown = "closed"
    policies_when_down: WhenDown = "open"
    locked: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    cache_single_flight: bool = False
    cache_stale_if_error: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TTL_S)] = 0
    cache_replay: Literal["events", "at_once"] = "events"
    cache_without_ttl: bool = False
    semantic_cache: SemanticCache | None = None
