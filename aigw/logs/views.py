"""A log as operators see it, by Cloudflare's field names where it has them."""

from __future__ import annotations

from typing import Any

import msgspec


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """
    One line of a list of logs.

    Attributes:
        id: UUID, lower case with hyphens.
        created_at: ISO 8601, UTC, to the millisecond.
        account, gateway: Names, as in the address.
        provider, model, path, model_type: Of the step that answered or failed last; None where there was none.
        response_model: As the provider names it.
        duration: Milliseconds from the opening to the end.
        first_byte_ms: From the opening to the answer's first body byte.
        success: A complete answer with a status below 400 reached the end.
        complete: The provider's answer ended with its own end mark.
        cached: Answered out of the gateway's cache.
        status_code: HTTP status that the client was told.
        error_code: Of the gateway's own errors; 0 when all went well.
        step: Index of the step that answered.
        attempts: Calls made to providers.
        tokens_in, tokens_out, cache_read, cache_write: None when neither told nor guessed.
        usage_estimated: Token counts are a guess from the bytes.
        cost: USD; None when the price is unknown.
        custom_cost: The price came with the request.
        metadata: As given with the request.
        request_type, request_content_type, response_content_type: As in the record.
        request_size, response_size: Bytes of the whole bodies, kept or not.
        event_id: The client's own correlation id.
        token: Public id of the calling token.
        team: Of the caller.
        user: Who called, as the token or the identity provider names the person.
        user_agent: As sent.
        authentication: A valid token was shown.
    """

    id: str
    created_at: str
    account: str
    gateway: str
    provider: str | None
    model: str | None
    response_model: str | None
    path: str | None
    model_type: str | None
    duration: int
    first_byte_ms: int | None
    success: bool
    complete: bool
    cached: bool
    status_code: int
    error_code: int
    step: int
    attempts: int
    tokens_in: int | None
    tokens_out: int | None
    cache_read: int | None
    cache_write: int | None
    usage_estimated: bool
    cost: float | None
    custom_cost: bool
    metadata: dict[str, Any] | None
    request_type: str | None
    request_content_type: str | None
    response_content_type: str | None
    request_size: int
    response_size: int
    event_id: str | None
    token: str | None
    team: str | None
    user: str | None
    user_agent: str | None
    authentication: bool


class Body(msgspec.Struct, frozen=True):
    """
    A stored body.

    Attributes:
        text: The body, or its base64 when it is no UTF-8.
        encoding: `utf-8` or `base64`.
        complete: Whether this is all that there was.
    """

    text: str
    encoding: str
    complete: bool


class LogDetail(LogView, frozen=True, kw_only=True):
    """
    One log with what a list leaves out.

    Attributes:
        error: Public text of the error.
        attempt_list: Each call to a provider: step, provider, model, status, error_code, started_ms, first_byte_ms,
            duration_ms, resends.
        session: Of a realtime session: turns, messages_in, messages_out, audio_in_ms, audio_out_ms, close_code,
            closed_by; None for any other log.
        controls: What the controls did beyond a plain pass; None for nothing.
        request, response: None when not kept.
        request_head, response_head: The beginning of the bodies.
        request_head_complete, response_head_complete: Whether the head is the whole body.
    """

    error: str | None
    attempt_list: list[dict[str, Any]]
    session: dict[str, Any] | None
    controls: dict[str, Any] | None
    request: Body | None
    response: Body | None
    request_head: str | None
    response_head: str | None
    request_head_complete: bool | None
    response_head_complete: bool | None
