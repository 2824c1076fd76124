"""What all readers share: counts out of whatever vendors write, and guesses from text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sse import Event
from aigw.providers.answers import reader_for
from aigw.providers.families import Family
from aigw.providers.usage import count, error_text

FAMILIES: tuple[Family, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic",
    "google",
    "cohere",
    "workers-ai",
    "huggingface",
    "bedrock-invoke",
    "bedrock-converse",
    "generic",
)
JSON_WORDS = (b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"null", b"1", b"-1", b"1.5", b"\xff")
OPENAI_WORDS = (b'"usage":{"prompt_tokens":3}', b'"error":', b'"_tokens"', b'"model":', b'"content":"', b'"delta":"x"')
OTHER_WORDS = (b'"type":', b'"message":{', b'"response":', b'"text":"x', b'"event_type":"stream-end"')
MORE_WORDS = (b'"usageMetadata":', b'"finishReason"', b'"candidates":[', b'"generated_text":"', b'"details":')
BEDROCK_WORDS = (
    b'"metadata":{"usage":',
    b'"inputTokens":',
    b'"cacheDetails":[',
    b'"amazon-bedrock-invocationMetrics":',
)
WORDS = st.sampled_from(JSON_WORDS + OPENAI_WORDS + OTHER_WORDS + MORE_WORDS + BEDROCK_WORDS)
NAMES = st.sampled_from(
    (b"", b"error", b"message_start", b"message_delta", b"response.completed", b"response.created", b"metadata")
)


class HostileTests(SynchronousTestCase):
    """No vendor can break an exchange by what it writes."""

    @given(st.sampled_from(FAMILIES), st.lists(st.tuples(NAMES, st.lists(WORDS, max_size=12)), max_size=6))
    @settings(max_examples=500, deadline=None)
    def test_nothing_makes_a_reader_raise(self, family: Family, events: list[tuple[bytes, list[bytes]]]) -> None:
        """Any bytes in any event or body are read without an error, and counts stay sensible."""
        reader, whole = reader_for(family), reader_for(family)
        for name, words in events:
            data = b"".join(words)
            reader.event(Event(name, data))
            reader_for(family).body(data)
            whole.body(b"{" + data + b"}")
        for usage in (reader.estimate(b"{}"), whole.usage):
            if usage is not None:
                self.assertGreaterEqual(
                    min(usage.tokens_in - usage.cache_read - usage.cache_write, usage.tokens_out), 0
                )


class CountTests(SynchronousTestCase):
    """Which numbers are counts of tokens."""

    def test_counts(self) -> None:
        """Whole numbers within reason are, also when written with a point; nothing else is."""
        self.assertEqual([count(told) for told in (0, 7, 12.0, 10**9)], [0, 7, 12, 10**9])
        for told in (-1, 10**9 + 1, 1.5, float("inf"), float("nan"), True, "7", None, [], {}):
            self.assertIsNone(count(told), told)

    def test_error_texts(self) -> None:
        """The words of an error are found in whatever holds them, and cut."""
        self.assertEqual(error_text({"type": "x", "message": "words"}), "words")
        self.assertEqual(error_text({"type": "overloaded"}), "overloaded")
        self.assertEqual(error_text({"message": {"deep": 1}}), "error")
        self.assertEqual(len(error_text("x" * 10_000)), 256)
