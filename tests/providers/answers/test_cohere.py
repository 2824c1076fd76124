"""Cohere. Shapes: docs.cohere.com/reference/chat-stream, /v1/reference/chat-stream and /reference/embed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse

DELTA = b'{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hello"}}}}'
END = (
    b'{"type":"message-end","id":"1","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":12.0,'
    b'"output_tokens":9.0},"tokens":{"input_tokens":212.0,"output_tokens":9.0},"cached_tokens":4}}}'
)
END_V1 = (
    b'{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"Hi","meta":'
    b'{"billed_units":{"input_tokens":3,"output_tokens":2},"tokens":{"input_tokens":70,"output_tokens":2}}}}'
)


class CohereTests(SynchronousTestCase):
    """Both versions of chat, and embeddings."""

    def test_a_stream_of_version_2(self) -> None:
        """The event at the end tells what is billed, and completes the stream."""
        reader = read_stream("cohere", sse(b'{"type":"message-start","id":"1"}', DELTA, END))
        self.assertEqual((reader.usage, reader.terminal), (Usage(12, 9, cache_read=4), True))

    def test_a_cut_stream(self) -> None:
        """Without that event the stream is not complete, and its text is guessed from."""
        reader = read_stream("cohere", sse(DELTA, DELTA, DELTA))
        self.assertFalse(reader.terminal)
        self.assertEqual(reader.estimate(b'{"message":"Say it"}'), Usage(2, 4, estimated=True))

    def test_a_stream_of_version_1(self) -> None:
        """Version 1 names its events otherwise, and may stream plain lines of JSON."""
        text = b'{"is_finished":false,"event_type":"text-generation","text":"Hi"}'
        for reader in (read_stream("cohere", sse(text, END_V1)), read_body("cohere", text + b"\n" + END_V1 + b"\n")):
            self.assertEqual((reader.usage, reader.terminal), (Usage(3, 2), True))

    def test_whole_answers(self) -> None:
        """A chat and an embedding tell their billed tokens."""
        chat = b'{"id":"1","message":{},"usage":{"billed_units":{"input_tokens":5,"output_tokens":6}}}'
        embed = b'{"id":"1","embeddings":{},"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":2}}}'
        self.assertEqual(read_body("cohere", chat).usage, Usage(5, 6))
        self.assertEqual(read_body("cohere", embed).usage, Usage(2, 0))

    def test_searches_have_no_tokens(self) -> None:
        """A rerank is billed by the search: there is no usage in tokens."""
        body = b'{"results":[],"meta":{"billed_units":{"search_units":1}}}'
        self.assertIsNone(read_body("cohere", body).usage)
