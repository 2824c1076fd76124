"""The messages of the universal WebSocket, spliced from bytes that are JSON already."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from aigw.codecs.json_text import is_json
from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.serving.refusal import error_body

_ENCODE = msgspec.json.Encoder().encode
DONE = b"[DONE]"
_TEXTUAL = ("text/", "application/xml", "application/javascript", "application/x-ndjson", "application/jsonl")


def metadata(event_id: str, head: AnswerHead, **more: Any) -> bytes:
    """
    The full `metadata` object.

    Args:
        event_id: As the client gave it.
        head: Of the answer.
        more: Further members.
    """
    if head.own:
        more["headers"] = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in head.own}
    return _ENCODE(
        {
            "cacheStatus": head.cache_status,
            "eventId": event_id,
            "logId": head.log_id,
            "step": str(head.step),
            "contentType": head.content_type,
            "status": head.status,
            **more,
        }
    )


def created(metadata_json: bytes, response_json: bytes | None = None) -> bytes:
    """`universal.created`: a whole answer, or with no response the beginning of a stream."""
    if response_json is None:
        return b'{"type":"universal.created","metadata":%b}' % metadata_json
    return b'{"type":"universal.created","metadata":%b,"response":%b}' % (metadata_json, response_json)


def stream_prefix(event_id: str) -> bytes:
    """What every `universal.stream` message of a request begins with."""
    return b'{"type":"universal.stream","metadata":{"eventId":%b},"response":' % _ENCODE(event_id)


def stream_piece(prefix: bytes, data: bytes) -> bytes:
    """`universal.stream`: the payload of one event, spliced in as it is when it is JSON, else as a string."""
    return b"%b%b}" % (prefix, data if is_json(data) else text_json(data))


def done(event_id: str, head: AnswerHead, outcome: Outcome) -> bytes:
    """`universal.done`: the end of a stream, complete or not."""
    error = outcome.error
    if error is None:
        members = metadata(event_id, head, complete=True)
    else:
        members = metadata(event_id, head, complete=False, error={"code": error.code, "message": error.message})
    return b'{"type":"universal.done","metadata":%b}' % members


def failure(event_id: str, outcome: Outcome) -> bytes:
    """`universal.created` with an error of the gateway itself, and the full metadata."""
    error = outcome.error
    if error is None:
        raise ValueError("an exchange that went well has no failure message")
    own = (*outcome.own, *error.headers)
    head = AnswerHead(outcome.log_id, outcome.step, error.status, "application/json", (), False, own=own)
    return created(metadata(event_id, head), error_body(error))


def whole(event_id: str, head: AnswerHead, body: bytes) -> bytes:
    """`universal.created` with a whole answer: JSON as it is, text as a string, anything else in base64."""
    kind = head.content_type.partition(";")[0].strip().lower()
    if not body:
        return created(metadata(event_id, head), b"null")
    if (not kind or kind.endswith(("json", "text/plain"))) and is_json(body):
        return created(metadata(event_id, head), body)
    if not kind or kind.startswith(_TEXTUAL) or kind.endswith(("json", "+xml")):
        return created(metadata(event_id, head), text_json(body))
    encoded = b'"' + base64.b64encode(body) + b'"'
    return created(metadata(event_id, head, encoding="base64"), encoded)


def text_json(data: bytes) -> bytes:
    """Any bytes as a JSON string; what is no UTF-8 becomes the replacement character."""
    return _ENCODE(data.decode("utf-8", "replace"))
