"""Gemini. Shapes: ai.google.dev/api/generate-content."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse

FIRST = (
    b'{"candidates": [{"content": {"parts": [{"text": "Hello"}],"role": "model"},"index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 40,"candidatesTokenCount": 2,"totalTokenCount": 62,'
    b'"thoughtsTokenCount": 20,"cachedContentTokenCount": 32},"modelVersion": "gemini-2.5-flash"}'
)
MORE = FIRST.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": 4')
LAST = (
    b'{"candidates": [{"content": {"parts": [{"text": " you"}],"role": "model"},"finishReason": "STOP","index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 40,"candidatesTokenCount": 7,"totalTokenCount": 71,'
    b'"thoughtsTokenCount": 21,"toolUsePromptTokenCount": 3,"cachedContentTokenCount": 32},'
    b'"modelVersion": "gemini-2.5-flash"}'
)
FINAL = Usage(43, 28, cache_read=32)


class StreamTests(SynchronousTestCase):
    """Streams of chunks."""

    def test_usage_model_and_end(self) -> None:
        """The chunk with the finish reason ends the stream and tells the final usage, thoughts included."""
        reader = read_stream("google", sse(FIRST, MORE, LAST))
        self.assertEqual((reader.usage, reader.model, reader.terminal), (FINAL, "gemini-2.5-flash", True))

    def test_carriage_returns_as_google_sends_them(self) -> None:
        """Google ends its lines with CRLF."""
        self.assertEqual(read_stream("google", sse(FIRST, LAST).replace(b"\n", b"\r\n")).usage, FINAL)

    def test_usage_behind_the_last_text(self) -> None:
        """A chunk behind the finish reason may still tell usage."""
        bare = LAST[: LAST.index(b',"usageMetadata"')] + b"}"
        tail = b'{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}'
        self.assertEqual(read_stream("google", sse(FIRST, bare, tail)).usage, Usage(1, 2))

    def test_a_cut_stream_keeps_the_usage_so_far(self) -> None:
        """A stream that is cut has not ended, and its last counts hold."""
        reader = read_stream("google", sse(FIRST, MORE))
        self.assertFalse(reader.terminal)
        self.assertEqual(reader.estimate(b"{}"), Usage(40, 24, cache_read=32))

    def test_a_refused_prompt_is_complete(self) -> None:
        """A prompt that Google blocks gets one chunk without candidates."""
        blocked = b'{"promptFeedback": {"blockReason": "SAFETY"},"usageMetadata": {"promptTokenCount": 4}}'
        reader = read_stream("google", sse(blocked))
        self.assertEqual((reader.terminal, reader.usage), (True, Usage(4, 0)))

    def test_an_error_inside_the_stream(self) -> None:
        """An error chunk ends the stream as an error."""
        error = b'{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}'
        reader = read_stream("google", sse(FIRST, error))
        self.assertEqual((reader.error, reader.terminal), ("The model is overloaded.", True))

    def test_text_is_guessed_from(self) -> None:
        """Without any usage the text is guessed from, and so is the request's."""
        chunk = b'{"candidates":[{"content":{"parts":[{"text":"Hello you"}]}}],"modelVersion":"g"}'
        usage = read_stream("google", sse(chunk)).estimate(b'{"contents":[{"parts":[{"text":"Say hello"}]}]}')
        self.assertEqual(usage, Usage(3, 3, estimated=True))


class BodyTests(SynchronousTestCase):
    """Whole answers."""

    def test_a_whole_answer(self) -> None:
        """An answer without streaming tells the same."""
        self.assertEqual(read_body("google", LAST).usage, FINAL)

    def test_a_stream_as_an_array(self) -> None:
        """A stream asked for without `alt=sse` is an array of chunks, the last of which counts."""
        reader = read_body("google", b"[" + FIRST + b",\r\n" + LAST + b"\n]\n")
        self.assertEqual((reader.usage, reader.model, reader.terminal), (FINAL, "gemini-2.5-flash", True))
        self.assertFalse(read_body("google", b"[" + FIRST + b",").terminal)
