"""The Responses API. Shapes: platform.openai.com/docs/api-reference/responses-streaming."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.answers import AnswerReader
from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream

USAGE = (
    b'"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":30},"output_tokens":87,'
    b'"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}'
)


def stream(*events: tuple[bytes, bytes], named: bool = True) -> AnswerReader:
    """The reader after events of these types, with or without their `event:` lines."""
    lines = b""
    for kind, rest in events:
        lines += b"event: " + kind + b"\n" if named else b""
        lines += b'data: {"type":"' + kind + b'",' + rest + b"}\n\n"
    return read_stream("openai-responses", lines)


CREATED = (
    b"response.created",
    b'"sequence_number":0,"response":{"model":"gpt-5-2025-08-07","usage":null,"error":null}',
)
DELTA = (b"response.output_text.delta", b'"sequence_number":4,"item_id":"msg","delta":"Hello"')
COMPLETED = (b"response.completed", b'"response":{"model":"gpt-5-2025-08-07","error":null,' + USAGE + b"}")
INCOMPLETE = (b"response.incomplete", b'"response":{"model":"gpt-5-2025-08-07",' + USAGE + b"}")


class StreamTests(SynchronousTestCase):
    """Streams of typed events."""

    def test_usage_model_and_end(self) -> None:
        """The event that ends the stream tells usage and model, with and without event names."""
        for last in (COMPLETED, INCOMPLETE):
            for named in (True, False):
                reader = stream(CREATED, DELTA, last, named=named)
                self.assertEqual(reader.usage, Usage(36, 87, cache_read=30))
                self.assertEqual((reader.model, reader.terminal, reader.error), ("gpt-5-2025-08-07", True, ""))

    def test_a_cut_stream(self) -> None:
        """Without an ending event the stream is not complete; its text is guessed from."""
        reader = stream(CREATED, DELTA, DELTA)
        self.assertFalse(reader.terminal)
        self.assertEqual(reader.model, "gpt-5-2025-08-07")
        self.assertEqual(reader.estimate(b'{"input":"What is it?"}'), Usage(3, 3, estimated=True))

    def test_failures(self) -> None:
        """A failed response and an error event are errors."""
        failed = (b"response.failed", b'"response":{"error":{"code":"server_error","message":"It broke"}}')
        flat = (b"error", b'"code":"ERR","message":"Something broke","param":null')
        nested = (b"error", b'"error":{"message":"Nested"}')
        for last, words in ((failed, "It broke"), (flat, "Something broke"), (nested, "Nested")):
            reader = stream(CREATED, last)
            self.assertEqual((reader.error, reader.terminal), (words, True))


class BodyTests(SynchronousTestCase):
    """Whole answers."""

    def test_a_whole_answer(self) -> None:
        """A response tells model and usage."""
        reader = read_body("openai-responses", b'{"object":"response","error":null,"model":"gpt-5",' + USAGE + b"}")
        self.assertEqual((reader.usage, reader.model, reader.terminal), (Usage(36, 87, cache_read=30), "gpt-5", True))
