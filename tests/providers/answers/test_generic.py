"""Answers of vendors and paths without a family."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse


class GenericTests(SynchronousTestCase):
    """Answers of vendors without a family."""

    def test_the_framing_ends_a_stream_without_marks(self) -> None:
        """A stream of progress events is complete when its connection says so."""
        self.assertTrue(read_stream("generic", sse(b'{"progress":1}', b'{"progress":2}')).terminal)

    def test_a_stream_like_openais_needs_its_end(self) -> None:
        """A stream that shows an open finish reason is complete only with a closed one or the mark."""
        openly = b'{"choices":[{"delta":{"content":"x"},"finish_reason":null}]}'
        self.assertFalse(read_stream("generic", sse(openly)).terminal)
        self.assertTrue(read_stream("generic", sse(openly, b"[DONE]")).terminal)
        self.assertTrue(read_stream("generic", sse(openly, openly.replace(b"null", b'"stop"'))).terminal)

    def test_usage_where_it_looks_familiar(self) -> None:
        """Usage in OpenAI's wording (images, audio) and Replicate's metrics are understood."""
        image = b'{"type":"image_generation.completed","usage":{"input_tokens":50,"output_tokens":4160}}'
        self.assertEqual(read_stream("generic", sse(image)).usage, Usage(50, 4160))
        replicate = b'{"model":"a/b","error":null,"metrics":{"input_token_count":7,"output_token_count":9}}'
        reader = read_body("generic", replicate)
        self.assertEqual((reader.usage, reader.model, reader.error), (Usage(7, 9), "a/b", ""))

    def test_sounds_are_complete(self) -> None:
        """What is no JSON is as complete as its framing; JSON that was cut is not."""
        self.assertTrue(read_body("generic", b"ID3\x04\x00").terminal)
        self.assertTrue(read_body("generic", b"").terminal)
        self.assertFalse(read_body("generic", b'{"a":').terminal)

    def test_an_error_event(self) -> None:
        """A named error event is an error."""
        reader = read_stream("generic", b'event: error\ndata: {"error":{"message":"bad voice"}}\n\n')
        self.assertEqual(reader.error, "bad voice")
