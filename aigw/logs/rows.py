"""From an `End` to the columns of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aigw.logs.names import GatewayName, Name, NameKind, storable
from aigw.values.ids import id_text
from aigw.values.record import Attempt, End
from aigw.values.usage import Usage

INT16_MAX, INT32_MAX, INT64_MAX = 2**15 - 1, 2**31 - 1, 2**63 - 1
METADATA_BYTES = 8192
ERROR_CHARS = 2000
NOTHING_USED = Usage(0, 0)


class LogRow(msgspec.Struct):
    """A row of `logs`; the fields are its columns."""

    id: str
    cost_nanousd: int | None
    request_bytes: int
    response_bytes: int
    gateway: int
    provider: int
    model: int | None
    response_model: int | None
    model_type: int | None
    path: int | None
    token: int | None
    agent: int | None
    request_type: int
    request_content_type: int | None
    response_content_type: int | None
    duration_ms: int
    first_byte_ms: int | None
    tokens_in: int | None
    tokens_out: int | None
    cache_read: int | None
    cache_write: int | None
    status: int
    error_code: int
    step: int
    attempts: int
    success: bool
    complete: bool
    cached: bool
    authenticated: bool
    custom_cost: bool
    usage_estimated: bool
    event_id: str | None
    metadata: dict[str, Any] | None


def gateway_of(record: End) -> GatewayName:
    """Account and gateway of a record."""
    return storable(record.origin.account), storable(record.origin.gateway)


def names_of(record: End) -> Iterator[Name]:
    """Every name that the record's row holds as an integer."""
    origin, target = record.origin, record.target
    for kind, text in (
        (NameKind.PROVIDER, target.provider or "none"),
        (NameKind.MODEL, target.model),
        (NameKind.MODEL, record.response_model),
        (NameKind.MODEL_TYPE, target.model_type),
        (NameKind.PATH, target.path),
        (NameKind.TOKEN, origin.token),
        (NameKind.AGENT, origin.user_agent),
        (NameKind.REQUEST_TYPE, origin.request_type or "none"),
        (NameKind.CONTENT_TYPE, target.request_content_type),
        (NameKind.CONTENT_TYPE, record.response_content_type),
    ):
        if text:
            yield kind, storable(text)


def log_row(record: End, names: dict[Name, int], gateways: dict[GatewayName, int]) -> LogRow:
    """
    The narrow row of a record.

    Args:
        record: Its numbers are held to the columns' width: a provider that claims a trillion tokens costs no row.
        names, gateways: Ids of all that `names_of` and `gateway_of` gave.
    """
    origin, target, usage = record.origin, record.target, record.usage

    def name(kind: NameKind, text: str) -> int | None:
        return names[kind, storable(text)] if text else None

    return LogRow(
        id=id_text(origin.id),
        cost_nanousd=None if record.cost_nanousd is None else _held(record.cost_nanousd, INT64_MAX),
        request_bytes=_held(target.request_bytes, INT64_MAX),
        response_bytes=_held(record.response_bytes, INT64_MAX),
        gateway=gateways[gateway_of(record)],
        provider=names[NameKind.PROVIDER, storable(target.provider or "none")],
        model=name(NameKind.MODEL, target.model),
        response_model=name(NameKind.MODEL, record.response_model),
        model_type=name(NameKind.MODEL_TYPE, target.model_type),
        path=name(NameKind.PATH, target.path),
        token=name(NameKind.TOKEN, origin.token),
        agent=name(NameKind.AGENT, origin.user_agent),
        request_type=names[NameKind.REQUEST_TYPE, storable(origin.request_type or "none")],
        request_content_type=name(NameKind.CONTENT_TYPE, target.request_content_type),
        response_content_type=name(NameKind.CONTENT_TYPE, record.response_content_type),
        duration_ms=_held(record.duration_ms, INT32_MAX),
        first_byte_ms=None if record.first_byte_ms < 0 else _held(record.first_byte_ms, INT32_MAX),
        tokens_in=None if usage is None else _held(usage.tokens_in, INT32_MAX),
        tokens_out=None if usage is None else _held(usage.tokens_out, INT32_MAX),
        cache_read=None if usage is None else _held(usage.cache_read, INT32_MAX),
        cache_write=None if usage is None else _held(usage.cache_write, INT32_MAX),
        status=_held(record.status, INT16_MAX),
        error_code=_held(record.error_code, INT16_MAX),
        step=_held(record.step, INT16_MAX),
        attempts=_held(len(record.attempts), INT16_MAX),
        success=record.success,
        complete=record.complete,
        cached=record.cached,
        authenticated=origin.authenticated,
        custom_cost=record.custom_cost,
        usage_estimated=usage is not None and usage.estimated,
        event_id=storable(origin.event_id) or None,
        metadata=metadata_object(origin.metadata),
    )


def error_text(record: End) -> str | None:
    """What `log_bodies.error` holds."""
    return record.error.replace("\0", "\ufffd")[:ERROR_CHARS] or None


def attempts_json(attempts: list[Attempt]) -> str:
    """What `log_bodies.attempts` holds."""
    shown = [
        {
            "step": attempt.step,
            "provider": storable(attempt.provider),
            "model": storable(attempt.model),
            "status": attempt.status,
            "error_code": attempt.error_code,
            "started_ms": attempt.started_ms,
            "first_byte_ms": attempt.first_byte_ms,
            "duration_ms": attempt.duration_ms,
        }
        for attempt in attempts
    ]
    return msgspec.json.encode(shown).decode()


def metadata_object(text: bytes) -> dict[str, Any] | None:
    """
    Metadata as jsonb takes it: an object of plain values, no NUL in its texts; None for anything else.

    Args:
        text: As the client sent it; whoever took it has checked it, so this is the second look.
    """
    if not text or len(text) > METADATA_BYTES:
        return None
    try:
        value = msgspec.json.decode(text, type=dict[str, str | int | float | bool | None])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return {key.replace("\0", "\ufffd"): _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, int) and abs(value) > INT64_MAX:
        return float(value)
    return value


def _held(number: int, top: int) -> int:
    return -top if number < -top else min(number, top)
