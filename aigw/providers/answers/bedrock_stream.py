"""
Bedrock's streams, whose events come in AWS's binary form, as events like everybody else's.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
"""

from __future__ import annotations

import binascii

from aigw.codecs.event_stream import EventStreamParser, Message
from aigw.codecs.sse import Event
from aigw.errors import InvalidAnswer
from aigw.providers.peek import string_at

# The name of the events that tell of a failure.
FAILED = b"error"


class BedrockStream:
    """
    Cuts a stream into events.

    A `chunk` becomes the model's own event that it wraps. Any other event becomes a JSON object with one member,
    named as the event is: `{"messageStop": {"stopReason": "end_turn"}}`. A failure is such an object, too, in an event
    named `error`.

    Args:
        max_event_bytes: Most bytes of one message.
    """

    __slots__ = ("_parser",)

    def __init__(self, max_event_bytes: int) -> None:
        self._parser = EventStreamParser(max_event_bytes)

    def feed(self, chunk: bytes) -> list[Event]:
        """See `EventParser`."""
        return [event for event in map(_event, self._parser.feed(chunk)) if event is not None]

    def end(self) -> list[Event]:
        """See `EventParser`; a message that was cut completes nothing."""
        self._parser.end()
        return []


def _event(message: Message) -> Event | None:
    headers = message.headers
    kind = headers.get(b":message-type", b"event")
    if kind == b"exception":
        return Event(FAILED, _named(headers.get(b":exception-type", b""), message.payload))
    if kind == b"error":
        # The only kind without a payload: its two texts stand in the headers.
        return Event(FAILED, _named(headers.get(b":error-code", b""), b"{}"))
    name = headers.get(b":event-type", b"")
    if name == b"initial-response":
        return None
    return Event(b"", _unwrapped(message.payload)) if name == b"chunk" else Event(name, _named(name, message.payload))


def _named(name: bytes, payload: bytes) -> bytes:
    # What comes from elsewhere never breaks out of its string.
    plain = bytes(byte for byte in name if 0x20 < byte < 0x7F and byte not in b'"\\')
    return b'{"%b":%b}' % (plain, payload or b"{}")


def _unwrapped(payload: bytes) -> bytes:
    """The model's event in a chunk: its bytes in base64, beside a padding that hides how long it is."""
    try:
        return binascii.a2b_base64(string_at(payload, b'"bytes":'), strict_mode=True)
    except binascii.Error:
        raise InvalidAnswer("a chunk of its event stream is no base64") from None
