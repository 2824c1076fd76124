"""
Bedrock's answers.

Shapes: the API reference's InvokeModel, Converse and TokenUsage (docs.aws.amazon.com/bedrock/latest/APIReference), and
the user guide's pages on inference parameters of Anthropic's, Amazon's and Meta's models.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import TruncatedStream
from aigw.providers.answers import reader_for
from aigw.providers.families import Family
from aigw.providers.usage import AnswerReader
from aigw.testing.event_stream import chunk, event, exception
from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body

TYPE = "application/vnd.amazon.eventstream"
METRICS = {
    "amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 25,
        "outputTokenCount": 15,
        "invocationLatency": 900,
        "firstByteLatency": 300,
    }
}
START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_bdrk_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "content": [],
        "usage": {"input_tokens": 25, "cache_read_input_tokens": 1000, "output_tokens": 1},
    },
}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello you"}}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}
STOP = {"type": "message_stop"} | METRICS
METADATA = {
    "usage": {
        "inputTokens": 30,
        "outputTokens": 12,
        "totalTokens": 142,
        "cacheReadInputTokens": 60,
        "cacheWriteInputTokens": 40,
        "cacheDetails": [{"inputTokens": 25, "ttl": "1h"}, {"inputTokens": 15, "ttl": "5m"}],
    },
    "metrics": {"latencyMs": 500},
}
CONVERSED = Usage(130, 12, cache_read=60, cache_write=40, cache_write_1h=25)


def read(family: Family, *frames: bytes) -> AnswerReader:
    """The reader of a family after a whole stream."""
    reader = reader_for(family)
    parser = reader.parser(TYPE, 1 << 20)
    assert parser is not None
    for one in parser.feed(b"".join(frames)):
        reader.event(one)
    parser.end()
    return reader


class InvokeStreamTests(SynchronousTestCase):
    """`invoke-with-response-stream`: a model's own events, wrapped."""

    def test_anthropic(self) -> None:
        """Claude's own counts are read, those of its cache among them; the price goes by the path's name."""
        reader = read("bedrock-invoke", *map(chunk, (START, TEXT, DELTA, STOP)))
        self.assertEqual(reader.estimate(b"{}"), Usage(1025, 15, cache_read=1000))
        self.assertEqual((reader.terminal, reader.model, reader.text_bytes, reader.error), (True, "", 9, ""))

    def test_other_makers(self) -> None:
        """Nova's and Llama's streams end with Bedrock's own counts."""
        nova = (
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 15, "cacheReadInputTokenCount": 20}}} | METRICS,
        )
        reader = read("bedrock-invoke", *map(chunk, nova))
        self.assertEqual(reader.estimate(b"{}"), Usage(25, 15, cache_read=20))
        self.assertEqual((reader.terminal, reader.text_bytes), (True, 5))
        llama = ({"generation": "Hello you", "stop_reason": None}, {"generation": "", "stop_reason": "stop"} | METRICS)
        reader = read("bedrock-invoke", *map(chunk, llama))
        self.assertEqual(reader.estimate(b"{}"), Usage(25, 15))
        self.assertEqual((reader.terminal, reader.text_bytes), (True, 9))

    def test_a_cut_stream_is_no_end(self) -> None:
        """Without the model's end or Bedrock's counts the stream is truncated, and its output a guess."""
        reader = read("bedrock-invoke", *map(chunk, (START, TEXT)))
        self.assertFalse(reader.terminal)
        self.assertEqual(reader.estimate(b"{}"), Usage(1025, 3, cache_read=1000, estimated=True))

    def test_a_failure_within(self) -> None:
        """What Bedrock says of a failure in the middle is kept."""
        reader = read("bedrock-invoke", chunk(START), exception("throttlingException", "Too many tokens"))
        self.assertEqual((reader.terminal, reader.error), (True, "Too many tokens"))


class ConverseTests(SynchronousTestCase):
    """`converse` and `converse-stream`: one wording for all models."""

    def test_stream(self) -> None:
        """The closing metadata tell the usage; what the cache had is counted as input, too."""
        frames = (
            event("messageStart", {"role": "assistant"}),
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
            event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"a"'}}}),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            event("messageStop", {"stopReason": "end_turn"}),
        )
        reader = read("bedrock-converse", *frames)
        self.assertFalse(reader.terminal)
        self.assertGreater(reader.text_bytes, 7)
        reader = read("bedrock-converse", *frames, event("metadata", METADATA))
        self.assertEqual((reader.terminal, reader.estimate(b"{}")), (True, CONVERSED))

    def test_whole(self) -> None:
        """A whole answer is read like the stream's end."""
        reader = read_body(
            "bedrock-converse",
            b'{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{'
            b'"inputTokens":30,"outputTokens":12,"cacheReadInputTokens":60,"cacheWriteInputTokens":40,'
            b'"cacheDetails":[{"inputTokens":25,"ttl":"1h"}]}}',
        )
        self.assertEqual((reader.usage, reader.terminal), (CONVERSED, True))

    def test_a_failure_within(self) -> None:
        """A failure in the middle ends the stream with its text."""
        reader = read("bedrock-converse", exception("modelStreamErrorException", "gone"))
        self.assertEqual((reader.terminal, reader.error), (True, "gone"))
        self.assertFalse(read("bedrock-converse").terminal)


class InvokeBodyTests(SynchronousTestCase):
    """`invoke`: a model's own answer, and Bedrock's counts in the header."""

    HEADERS = (
        (b"content-type", b"application/json"),
        (b"x-amzn-bedrock-input-token-count", b"21"),
        (b"x-amzn-bedrock-output-token-count", b"4"),
        (b"x-amzn-bedrock-cache-read-input-token-count", b"100"),
        (b"x-amzn-bedrock-invocation-latency", b"700"),
    )

    def read(self, body: bytes) -> AnswerReader:
        reader = reader_for("bedrock-invoke")
        reader.head(self.HEADERS)
        reader.body(body)
        return reader

    def test_counts_of_the_header(self) -> None:
        """Models whose answers tell nothing are counted all the same."""
        reader = self.read(b'{"generation":"Hi","prompt_token_count":21,"stop_reason":"stop"}')
        self.assertEqual((reader.usage, reader.terminal), (Usage(121, 4, cache_read=100), True))

    def test_counts_of_the_answer(self) -> None:
        """Claude's, Nova's and OpenAI's own usage goes before the header's."""
        for body, usage in (
            (b'{"type":"message","model":"c","usage":{"input_tokens":7,"output_tokens":3}}', Usage(7, 3)),
            (b'{"output":{},"usage":{"inputTokens":8,"outputTokens":2,"totalTokens":10}}', Usage(8, 2)),
            (b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}', Usage(9, 1)),
        ):
            reader = self.read(body)
            self.assertEqual((reader.usage, reader.model), (usage, ""))

    def test_odd_counts_are_passed_over(self) -> None:
        """A header that is no number does no harm."""
        reader = reader_for("bedrock-invoke")
        reader.head(((b"x-amzn-bedrock-input-token-count", b"-1"), (b"x-amzn-bedrock-output-token-count", b"9" * 99)))
        reader.body(b"{}")
        self.assertIsNone(reader.usage)


class TypeTests(SynchronousTestCase):
    """Which answers are streams."""

    def test_by_content_type(self) -> None:
        """AWS's form and SSE are cut into events, anything else is not."""
        families: tuple[Family, ...] = ("bedrock-invoke", "bedrock-converse")
        for family in families:
            reader = reader_for(family)
            self.assertIsNone(reader.parser("application/json", 100))
            self.assertIsNotNone(reader.parser("text/event-stream", 100))
            parser = reader.parser("application/vnd.amazon.eventstream", 1000)
            assert parser is not None
            parser.feed(event("messageStop", {})[:-1])
            self.assertRaises(TruncatedStream, parser.end)
