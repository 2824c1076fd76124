"""What a client on a WebSocket gets of Bedrock's streams. Shapes: the API reference's ResponseStream."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sse import Event
from aigw.errors import InvalidAnswer
from aigw.providers.answers.bedrock_stream import BedrockStream
from aigw.testing.event_stream import chunk, event, exception, frame


class EventTests(SynchronousTestCase):
    """Each message becomes one event whose data is JSON."""

    def events(self, *frames: bytes) -> list[Event]:
        parser = BedrockStream(1 << 20)
        found = parser.feed(b"".join(frames))
        self.assertEqual(parser.end(), [])
        return found

    def test_chunks_are_unwrapped(self) -> None:
        """A model's own event comes out as the model wrote it."""
        inner = {"type": "content_block_delta", "delta": {"text": 'a "b" \u00fc'}}
        (found,) = self.events(chunk(inner))
        self.assertEqual((found.name, json.loads(found.data)), (b"", inner))

    def test_other_events_are_named(self) -> None:
        """An event of a conversation keeps its kind, as the member that AWS's SDK gives it."""
        (found,) = self.events(event("messageStop", {"stopReason": "end_turn"}))
        self.assertEqual(
            (found.name, json.loads(found.data)), (b"messageStop", {"messageStop": {"stopReason": "end_turn"}})
        )

    def test_failures(self) -> None:
        """Both kinds of failure are events named error."""
        headers = {b":message-type": b"error", b":error-code": b"Internal", b":error-message": b"x"}
        failed, broken = self.events(exception("throttlingException", "slow down"), frame(b"", headers))
        self.assertEqual(
            (failed.name, json.loads(failed.data)), (b"error", {"throttlingException": {"message": "slow down"}})
        )
        self.assertEqual((broken.name, json.loads(broken.data)), (b"error", {"Internal": {}}))

    def test_names_stay_in_their_place(self) -> None:
        """An event's name cannot write JSON of its own."""
        (found,) = self.events(frame(b"{}", {b":event-type": b'a":1,"b\\\x00\xff'}))
        self.assertEqual(json.loads(found.data), {"a:1,b": {}})

    def test_the_first_message_of_a_protocol_is_no_event(self) -> None:
        """`initial-response` is for SDKs only."""
        self.assertEqual(self.events(frame(b"{}", {b":event-type": b"initial-response"})), [])

    def test_a_chunk_that_is_no_base64(self) -> None:
        """A stream that cannot be understood ends with an error instead of a wrong text."""
        for payload in (b'{"bytes":"!!!!"}', b'{"bytes":"abc"}'):
            self.assertRaises(InvalidAnswer, self.events, frame(payload, {b":event-type": b"chunk"}))
