"""Making a record fit: the room that was kept for it, and what msgpack can hold."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from aigw.logs.frame import FRAME_BYTES
from aigw.values.counting import Charged
from aigw.values.record import Attempt, Begin, End, Origin, Session, Target

R = TypeVar("R", bound=msgspec.Struct)

CLIP_BYTES = 64
ERROR_CLIP_BYTES = 128
ATTEMPTS_KEPT = 8
# For charges that the `Begin` does not name: of later steps, or larger than was estimated.
CHARGES_BYTES = 256

# What a squeezed `End` may need beyond the origin that its `Begin` holds, too. The test of this module computes it.
END_ROOM_BYTES = 2816

INT64_MAX = 2**63 - 1


def end_room_bytes(begin_frame_bytes: int) -> int:
    """Bytes to keep free for the `End` of an exchange, by the length of its `Begin`'s frame."""
    return begin_frame_bytes + FRAME_BYTES + END_ROOM_BYTES


def without_bodies(record: End) -> End:
    """The same end, its bodies left out and marked as cut."""
    return msgspec.structs.replace(
        record,
        request_body=None,
        response_body=None,
        request_cut=record.request_cut or record.request_body is not None,
        response_cut=record.response_cut or record.response_body is not None,
    )


def squeezed(record: End, begin: Begin) -> End:
    """
    The end of an exchange in no more than the room that was kept for it.

    Args:
        record: As it should have been.
        begin: Of the same exchange; its origin stands in for the record's.
    Returns:
        The record without bodies and what controls did, texts clipped, only the last attempts and as many charges kept
        as there is room for.
    """
    origin = msgspec.structs.replace(
        begin.origin, collect=record.origin.collect, collect_payload=record.origin.collect_payload
    )
    return msgspec.structs.replace(
        without_bodies(record),
        origin=origin,
        target=_clipped_target(record.target),
        response_content_type=clip(record.response_content_type),
        response_model=clip(record.response_model),
        error=clip(record.error, ERROR_CLIP_BYTES),
        attempts=[_clipped_attempt(attempt) for attempt in record.attempts[-ATTEMPTS_KEPT:]],
        session=None if record.session is None else _clipped_session(record.session),
        charged=_fitting(record.charged, begin),
        controls={},
    )


def clip(text: str, size_bytes: int = CLIP_BYTES) -> str:
    """The beginning of a text, at most so many bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:size_bytes].decode("utf-8", "ignore")


def representable(record: R) -> R:
    """
    A record that msgpack can hold: lone surrogates replaced, numbers held to 64 bits.

    Only called when encoding failed, so it need not be quick.
    """
    return type(record)(**{name: _representable(getattr(record, name)) for name in record.__struct_fields__})


def _representable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-INT64_MAX, min(INT64_MAX, value))
    if isinstance(value, msgspec.Struct):
        return representable(value)
    if isinstance(value, list | tuple):
        return type(value)(_representable(item) for item in value)
    if isinstance(value, dict):
        return {_representable(name): _representable(item) for name, item in value.items()}
    return value


def _clipped_target(target: Target) -> Target:
    return msgspec.structs.replace(
        target,
        provider=clip(target.provider),
        path=clip(target.path),
        model=clip(target.model),
        request_content_type=clip(target.request_content_type),
        model_type=clip(target.model_type),
    )


def _clipped_attempt(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, provider=clip(attempt.provider), model=clip(attempt.model))


def _clipped_session(session: Session) -> Session:
    return msgspec.structs.replace(session, closed_by=clip(session.closed_by))


def _fitting(charges: tuple[Charged, ...], begin: Begin) -> tuple[Charged, ...]:
    """As many charges as fit into the room of the `Begin`'s own and a little more; those it names come first."""
    room = _length(begin.charged) + CHARGES_BYTES
    if _length(charges) <= room:
        return charges
    named = {(each.key, each.slot) for each in begin.charged}
    kept = []
    for each in sorted(charges, key=lambda each: (each.key, each.slot) not in named):
        room -= _length(each)
        if room < 0:
            break
        kept.append(each)
    return tuple(kept)


def _length(charges: object) -> int:
    return len(msgspec.msgpack.encode(charges))


def interrupted(begin: Begin, status: int, code: int, text: str) -> End:
    """
    The end of an exchange whose process died, known only by its beginning.

    Args:
        begin: What the spool still has of it. What it was charged, an estimate, stands.
        status, code, text: Of the error to tell.
    """
    origin: Origin = begin.origin
    return End(origin, begin.target, status=status, error_code=code, error=text, charged=begin.charged)
