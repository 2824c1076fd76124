"""A client's universal request, on the WebSocket or over HTTP, read no deeper than its envelope."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from aigw.codecs.json_text import find_string, mask_lone_surrogates, repeated_key
from aigw.controls.locks import HeldSettings, is_setting
from aigw.errors import GatewayError, InvalidField, MalformedRequest, MissingField, UnknownMessageType
from aigw.values.step import Headers, Step

CREATE = "universal.create"
EVENT_ID_CHARS = 256
# What is left of a message without its queries is small; reading it again costs nothing. Beyond this it is refused.
ENVELOPE_BYTES = 262_144
_KEYS = (b'"provider"', b'"endpoint"', b'"headers"', b'"query"', b'"eventId"', b'"type"', b'"request"')


class _Config(msgspec.Struct, frozen=True):
    """The body's form of the headers that say how a step is tried."""

    requestTimeout: int | float | None = None
    maxAttempts: int | float | None = None
    retryDelay: int | float | None = None
    backoff: str | None = None

    def settings(self) -> dict[bytes, bytes]:
        """The same as headers."""
        named = (
            (b"cf-aig-request-timeout", self.requestTimeout),
            (b"cf-aig-max-attempts", self.maxAttempts),
            (b"cf-aig-retry-delay", self.retryDelay),
            (b"cf-aig-backoff", self.backoff),
        )
        return {
            name: (f"{value:g}" if isinstance(value, float) else str(value)).encode()
            for name, value in named
            if value is not None
        }


_PLAIN_KEY = b'"query":'
_BACKSLASH = 0x5C
# A quote within a string is escaped, so this is a key and nothing else.
_QUERY_KEY = re.compile(rb'(?<!\\)"query"[ \t\r\n]*:[ \t\r\n]*')


class _Step(msgspec.Struct, frozen=True):
    provider: str | None = None
    endpoint: str | None = None
    headers: msgspec.Raw = msgspec.Raw()
    query: msgspec.Raw = msgspec.Raw()
    eventId: str | None = None
    # The oldest pages of the wire have this string beside the headers.
    authorization: str | None = None
    config: _Config | None = None


class _Message(msgspec.Struct, frozen=True):
    type: str | None = None
    request: _Step | list[_Step] | None = None
    eventId: str | None = None


_Decode = Callable[[bytes], _Message]
_DECODE: _Decode = msgspec.json.Decoder(_Message).decode
_DECODE_HEADERS = msgspec.json.Decoder(dict[str, Any] | None).decode
_DECODE_STEPS = msgspec.json.Decoder(_Step | list[_Step]).decode


def _decode_steps(payload: bytes) -> _Message:
    """The HTTP twin of a message is its `request` alone."""
    return _Message(CREATE, _DECODE_STEPS(payload))


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        event_id: The client's, empty when it gave none or none could be read.
        steps: What to try; empty when the message is refused.
        refusal: Why it cannot be served, else None.
    """

    event_id: str
    steps: tuple[Step, ...]
    refusal: GatewayError | None = None


def read_message(payload: bytes, settings: HeldSettings, max_steps: int, event_id_chars: int) -> Envelope:
    """
    Read a message. Never raises: what is wrong with it is the envelope's `refusal`.

    Args:
        payload: As it came.
        settings: Of the connection; headers of a step go before its headers.
        max_steps: Steps that a request may list.
        event_id_chars: Length that an event id may have.
    """
    return _read(payload, _DECODE, settings, max_steps, event_id_chars)


def _read(payload: bytes, decode: _Decode, settings: HeldSettings, max_steps: int, event_id_chars: int) -> Envelope:
    message = None
    try:
        message, text = _decode(payload, decode)
        event_id = _event_id(message, event_id_chars)
        steps = _steps(message, max_steps)
        spans = _spans(text, [bytes(step.query) for step in steps])
        _check_envelope(text, spans)
        read = [
            _step(index, step, payload[start:end], settings)
            for index, (step, (start, end)) in enumerate(zip(steps, spans, strict=True))
        ]
        return Envelope(event_id, tuple(read))
    except GatewayError as error:
        known = _known_event_id(message) if message else find_string(payload, b"eventId")
        return Envelope((known or "")[:event_id_chars], (), error)


def read_steps(payload: bytes, settings: HeldSettings, max_steps: int) -> Envelope:
    """
    Read the body of the HTTP universal endpoint: a list of steps, or one. Never raises, as `read_message`.

    Args:
        payload: As it came.
        settings: Of the request; headers of a step go before its headers.
        max_steps: Steps that a request may list.
    """
    return _read(payload, _decode_steps, settings, max_steps, EVENT_ID_CHARS)


def _decode(payload: bytes, decode: _Decode) -> tuple[_Message, bytes]:
    """The message, and the text that its queries are slices of: the payload, or its twin of the same length."""
    if not payload.isascii():
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"invalid UTF-8 at byte {error.start}") from None
    try:
        return decode(payload), payload
    except RecursionError:
        raise MalformedRequest("nested too deeply") from None
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None
    except msgspec.DecodeError as error:
        # msgspec takes a lone surrogate escape for a cut text, though JSON allows it.
        masked, found = mask_lone_surrogates(payload)
        if not found:
            raise MalformedRequest(f"not JSON: {error}") from None
        return _decode_masked(masked, found, decode), masked


def _decode_masked(masked: bytes, found: list[int], decode: _Decode) -> _Message:
    try:
        message = decode(masked)
    except RecursionError:
        raise MalformedRequest("nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise MalformedRequest(f"not JSON: {error}") from None
    spans = _spans(masked, [bytes(step.query) for step in _listed(message)])
    if not all(any(start <= at < end for start, end in spans) for at in found):
        raise MalformedRequest("a lone surrogate outside `query`")
    return message


def _listed(message: _Message) -> list[_Step]:
    request = message.request
    return request if isinstance(request, list) else [request] if request is not None else []


def _known_event_id(message: _Message) -> str | None:
    if message.eventId is not None:
        return message.eventId
    for step in _listed(message):
        if step.eventId is not None:
            return step.eventId
    return None


def _event_id(message: _Message, limit: int) -> str:
    event_id = _known_event_id(message) or ""
    if len(event_id) > limit:
        raise InvalidField(f"`eventId` is longer than {limit} characters")
    return event_id


def _steps(message: _Message, max_steps: int) -> list[_Step]:
    if message.type is None:
        raise MissingField("`type`")
    if message.type != CREATE:
        raise UnknownMessageType(f"`{message.type[:64]}`; a client sends `{CREATE}`")
    steps = _listed(message)
    if not steps:
        raise MissingField("`request` is neither an object nor a list of at least one")
    if len(steps) > max_steps:
        raise InvalidField(f"`request` lists more than {max_steps} steps")
    return steps


def _spans(text: bytes, queries: Iterable[bytes]) -> list[tuple[int, int]]:
    """
    Where each query stands in the text, in their order: behind its key, since a short one may stand anywhere. A query
    that is missing takes no room.
    """
    spans = []
    at = 0
    for query in queries:
        start = _start(text, query, at) if query else at
        at = start + len(query)
        spans.append((start, at))
    return spans


def _start(text: bytes, query: bytes, at: int) -> int:
    # As most programs write it.
    key_at = text.find(_PLAIN_KEY, at)
    if key_at > 0 and text[key_at - 1] != _BACKSLASH:
        begin = key_at + len(_PLAIN_KEY)
        for start in (begin, begin + 1):
            if text.startswith(query, start):
                return start
    for key in _QUERY_KEY.finditer(text, at):
        if text.startswith(query, key.end()):
            return key.end()
    # The key is spelt with escapes.
    return text.find(query, at)


def _check_envelope(text: bytes, spans: list[tuple[int, int]]) -> None:
    """Refuse a key that stands twice in the envelope: two readers could take it for two different requests."""
    outside = []
    at = 0
    for start, end in spans:
        if end > start:
            outside.append(text[at:start])
            at = end
    outside.append(text[at:])
    envelope = b"0".join(outside)
    if len(spans) == 1:
        count = envelope.count
        for key in _KEYS:
            if count(key) > 1:
                break
        else:
            return
    if len(envelope) > ENVELOPE_BYTES:
        raise MalformedRequest("the envelope is too large")
    try:
        repeated = repeated_key(envelope)
    except (ValueError, RecursionError):
        raise MalformedRequest("the envelope cannot be read") from None
    if repeated is not None:
        raise MalformedRequest(f"the key `{repeated[:64]}` stands twice")


def _step(index: int, step: _Step, query: bytes, settings: HeldSettings) -> Step:
    if not step.provider:
        raise MissingField(f"`provider` of step {index}")
    if step.endpoint is None:
        raise MissingField(f"`endpoint` of step {index}")
    if not query:
        raise MissingField(f"`query` of step {index}")
    if step.config is None and step.authorization is None:
        # An application sends the same headers over and over.
        written = bytes(step.headers)
        known = settings.steps.get(written)
        if known is None:
            headers, own = _split_headers(index, step)
            known = settings.remember(written, headers, own)
        headers, held = known
    else:
        headers, own = _split_headers(index, step)
        if step.config is not None:
            own = {**step.config.settings(), **own}
        held = settings.under(own) if own else settings
    return Step(step.provider, step.endpoint, headers, query, held.headers, locked=held.locked)


def _read_headers(index: int, written: bytes) -> dict[str, Any]:
    try:
        return (_DECODE_HEADERS(written) if written else None) or {}
    except msgspec.ValidationError as error:
        raise InvalidField(f"headers of step {index}: {error}") from None


def _split_headers(index: int, step: _Step) -> tuple[Headers, dict[bytes, bytes]]:
    """A step's headers: those for the provider, and its `cf-aig-*` settings."""
    headers: list[tuple[bytes, bytes]] = []
    settings: dict[bytes, bytes] = {}
    for name, value in _read_headers(index, bytes(step.headers)).items():
        key = name.lower().encode("utf-8")
        data = _header_value(index, name, value)
        if is_setting(key):
            settings[key] = data
        else:
            headers.append((key, data))
    if step.authorization is not None and not any(name == b"authorization" for name, _ in headers):
        headers.append((b"authorization", step.authorization.encode("utf-8")))
    return tuple(headers), settings


def _header_value(index: int, name: str, value: object) -> bytes:
    """A header's value as text; the typed clients of this wire send numbers, flags and objects too."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if value is None:
        raise InvalidField(f"header `{name[:64]}` of step {index} is null")
    return msgspec.json.encode(value)
