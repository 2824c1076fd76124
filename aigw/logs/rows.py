"""From an `End` to the columns of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aigw.logs.names import GatewayName, NameKind, storable
from aigw.values.ids import id_text
from aigw.values.record import Attempt, End, Session

INT16_MAX, INT32_MAX, INT64_MAX = 2**15 - 1, 2**31 - 1, 2**63 - 1
METADATA_BYTES = 8192
ERROR_CHARS = 2000


class LogRow(msgspec.Struct, gc=False):
    """
    A row of `logs` and what its row of `log_bodies` adds; the fields are those of `aigw.logs.sql.INSERT_LOGS`.

    A body is told by where it begins (from 1) in the bytes that are sent along, and its length.
    """

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
    team: int | None
    person: int | None
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
    request_cut: bool
    response_cut: bool
    error: str | None
    attempt_list: list[dict[str, Any]]
    session: dict[str, Any] | None
    controls: dict[str, Any] | None
    request_from: int | None = None
    request_length: int | None = None
    response_from: int | None = None
    response_length: int | None = None


# The kinds of what `names_of` gives, in its order.
NAME_KINDS = (
    *(NameKind.PROVIDER, NameKind.MODEL, NameKind.MODEL, NameKind.MODEL_TYPE, NameKind.PATH, NameKind.TOKEN),
    *(NameKind.TEAM, NameKind.PERSON, NameKind.AGENT, NameKind.REQUEST_TYPE),
    *(NameKind.CONTENT_TYPE, NameKind.CONTENT_TYPE),
)


def gateway_of(record: End) -> GatewayName:
    """Account and gateway of a record."""
    return record.origin.account, record.origin.gateway


def names_of(record: End) -> tuple[str, ...]:
    """The texts that the record's row holds as integers, of `NAME_KINDS`; empty where there is none."""
    origin, target = record.origin, record.target
    return (
        *(target.provider or "none", target.model, record.response_model, target.model_type, target.path, origin.token),
        *(origin.team, origin.user, origin.user_agent, origin.request_type or "none"),
        *(target.request_content_type, record.response_content_type),
    )


def log_row(record: End, names: Sequence[int | None], gateway: int) -> LogRow:
    """
    The row of a record, without its bodies.

    Args:
        record: Its numbers are held to the columns' width: a provider that claims a trillion tokens costs no row.
        names: Ids of what `names_of` gave, in its order; None where there is none.
        gateway: Id of what `gateway_of` gave.
    """
    origin, target, usage = record.origin, record.target, record.usage
    provider, model, response_model, model_type, path, token, team, person, agent, *rest = names
    request_type, request_content, content = rest
    return LogRow(
        id=id_text(origin.id),
        cost_nanousd=None if record.cost_nanousd is None else _held(record.cost_nanousd, INT64_MAX),
        request_bytes=_held(target.request_bytes, INT64_MAX),
        response_bytes=_held(record.response_bytes, INT64_MAX),
        gateway=gateway,
        provider=provider or 0,
        model=model,
        response_model=response_model,
        model_type=model_type,
        path=path,
        token=token,
        team=team,
        person=person,
        agent=agent,
        request_type=request_type or 0,
        request_content_type=request_content,
        response_content_type=content,
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
        request_cut=record.request_cut,
        response_cut=record.response_cut,
        error=record.error.replace("\0", "\ufffd")[:ERROR_CHARS] or None,
        attempt_list=[_shown(attempt) for attempt in record.attempts],
        session=None if record.session is None else _session(record.session),
        controls={storable(name): _control(value) for name, value in record.controls.items()} or None,
    )


def _shown(attempt: Attempt) -> dict[str, Any]:
    """An item of `log_bodies.attempts`."""
    return {
        "step": attempt.step,
        "provider": storable(attempt.provider),
        "model": storable(attempt.model),
        "status": attempt.status,
        "error_code": attempt.error_code,
        "started_ms": attempt.started_ms,
        "first_byte_ms": attempt.first_byte_ms,
        "duration_ms": attempt.duration_ms,
        "resends": attempt.resends,
    }


def _session(session: Session) -> dict[str, Any]:
    """The value of `log_bodies.session`."""
    return {
        "turns": session.turns,
        "messages_in": session.messages_in,
        "messages_out": session.messages_out,
        "audio_in_ms": session.audio_in_ms if session.audio_in_ms >= 0 else None,
        "audio_out_ms": session.audio_out_ms if session.audio_out_ms >= 0 else None,
        "close_code": session.close_code or None,
        "closed_by": storable(session.closed_by),
    }


def _control(value: Any) -> Any:
    """A value of `log_bodies.controls`."""
    if isinstance(value, list):
        return [storable(item) for item in value]
    return storable(value) if isinstance(value, str) else value


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
    return number if -top <= number <= top else max(-top, min(number, top))
