"""Anthropic's messages. Shapes: docs.anthropic.com/en/api/messages-streaming and its page on prompt caching."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":25,'
    b'"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":40,'
    b'"ephemeral_1h_input_tokens":60},"output_tokens":1}}}\n\n'
)
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
TEXT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hello you"}}\n\n'
)
DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":15}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class StreamTests(SynchronousTestCase):
    """Streams of typed events."""

    def test_usage_model_and_end(self) -> None:
        """Input counts every token, cached ones told apart; the last output count holds."""
        reader = read_stream("anthropic", START + PING + TEXT + DELTA + STOP)
        self.assertEqual(reader.usage, Usage(1125, 15, cache_read=1000, cache_write=100, cache_write_1h=60))
        self.assertEqual((reader.model, reader.terminal), ("claude-sonnet-4-5", True))
        self.assertEqual(reader.estimate(b"{}"), reader.usage)

    def test_later_counts_replace_earlier_ones(self) -> None:
        """Newer versions repeat input counts at the end, raised by server tools; they are not added twice."""
        late = DELTA.replace(
            b'"output_tokens":15', b'"input_tokens":30,"cache_read_input_tokens":1000,"output_tokens":15'
        )
        usage = read_stream("anthropic", START + late + STOP).usage
        self.assertEqual(usage, Usage(1130, 15, cache_read=1000, cache_write=100, cache_write_1h=60))

    def test_events_without_names(self) -> None:
        """A proxy that leaves out the `event:` lines does no harm."""
        nameless = b"".join(
            line + b"\n" for line in (START + TEXT + DELTA + STOP).split(b"\n") if not line.startswith(b"event:")
        )
        reader = read_stream("anthropic", nameless)
        self.assertTrue(reader.terminal)
        self.assertEqual(reader.text_bytes, 9)
        self.assertEqual(reader.usage, Usage(1125, 15, cache_read=1000, cache_write=100, cache_write_1h=60))

    def test_a_cut_stream_keeps_its_input(self) -> None:
        """When the stream is cut, input stays as told and only the output is a guess."""
        reader = read_stream("anthropic", START + TEXT * 4)
        self.assertFalse(reader.terminal)
        usage = reader.estimate(b"{}")
        self.assertEqual(usage, Usage(1125, 9, cache_read=1000, cache_write=100, cache_write_1h=60, estimated=True))

    def test_an_error_inside_the_stream(self) -> None:
        """Anthropic's error event ends the stream as an error."""
        error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        reader = read_stream("anthropic", START + error)
        self.assertEqual((reader.error, reader.terminal), ("Overloaded", True))

    def test_thinking_and_tools_count(self) -> None:
        """Thoughts and tool input are output, too."""
        for delta, expected in (
            (b'{"type":"thinking_delta","thinking":"Let me see"}', 10),
            (rb'{"type":"input_json_delta","partial_json":"{\"a\":1}"}', 7),
            (b'{"type":"signature_delta","signature":"xxxx"}', 0),
        ):
            payload = b'{"type":"content_block_delta","index":0,"delta":' + delta + b"}"
            self.assertEqual(read_stream("anthropic", sse(payload)).text_bytes, expected)

    def test_garbage_is_passed_over(self) -> None:
        """Nonsense in the place of usage changes nothing."""
        for usage in (b'"x"', b'{"input_tokens":-5}', b"[]", b"null", b'{"input_tokens":"5","output_tokens":{}}'):
            payload = b'{"type":"message_start","message":{"model":[],"usage":' + usage + b"}}"
            reader = read_stream("anthropic", sse(payload, b'{"type":"message_delta","usage":' + usage + b"}", b"{"))
            self.assertEqual((reader.usage, reader.model), (None, ""))


class BodyTests(SynchronousTestCase):
    """Whole answers."""

    def test_a_whole_answer(self) -> None:
        """A message tells model and usage."""
        reader = read_body(
            "anthropic",
            b'{"type":"message","model":"claude-opus-4-1","content":[{"type":"text","text":"Hi"}],"usage":'
            b'{"input_tokens":10,"cache_read_input_tokens":90,"cache_creation_input_tokens":0,"output_tokens":3}}',
        )
        self.assertEqual((reader.usage, reader.model), (Usage(100, 3, cache_read=90), "claude-opus-4-1"))
        self.assertTrue(reader.terminal)

    def test_an_error_body(self) -> None:
        """The vendor's words of an error are kept."""
        body = b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: required"}}'
        self.assertEqual(read_body("anthropic", body).error, "max_tokens: required")
