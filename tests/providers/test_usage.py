"""What all readers share: counts out of whatever vendors write, and guesses from text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sse import Event
from aigw.providers.answers import reader_for
from aigw.providers.families import Family
from aigw.providers.usage import count, error_text, request_text_bytes, string_at, string_bytes

FAMILIES: tuple[Family, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic",
    "google",
    "cohere",
    "workers-ai",
    "huggingface",
    "generic",
)
JSON_WORDS = (b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"null", b"1", b"-1", b"1.5", b"\xff")
OPENAI_WORDS = (b'"usage":{"prompt_tokens":3}', b'"error":', b'"_tokens"', b'"model":', b'"content":"', b'"delta":"x"')
OTHER_WORDS = (b'"type":', b'"message":{', b'"response":', b'"text":"x', b'"event_type":"stream-end"')
MORE_WORDS = (b'"usageMetadata":', b'"finishReason"', b'"candidates":[', b'"generated_text":"', b'"details":')
WORDS = st.sampled_from(JSON_WORDS + OPENAI_WORDS + OTHER_WORDS + MORE_WORDS)
NAMES = st.sampled_from([b"", b"error", b"message_start", b"message_delta", b"response.completed", b"response.created"])


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


class StringTests(SynchronousTestCase):
    """Strings out of undecoded events."""

    def test_strings_end_where_json_ends_them(self) -> None:
        """Escaped quotes and backslashes do not end a string early or late."""
        for written in ("plain", 'a "quoted" b', "back\\slash\\", '\\"', "", "line\nend"):
            data = (
                b'{"a":1,"k":"'
                + written.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").encode()
                + b'","z":2}'
            )
            self.assertEqual(string_bytes(data, b'"k":'), len(written), written)

    def test_what_is_no_string(self) -> None:
        """Other values, absent keys and cut strings give nothing."""
        for data in (b'{"k":null}', b'{"k":7}', b"{}", b'{"k":"cut', b'{"k":', b'{"x":"\\"k\\":\\"y\\""}'):
            self.assertEqual(string_at(data, b'"k":'), b"", data)


class RequestTests(SynchronousTestCase):
    """The length of a request's text."""

    def test_every_wording(self) -> None:
        """The text of each family's requests is counted, pictures and parameters are not."""
        for body, expected in (
            (b'{"messages":[{"role":"user","content":"12345"}],"temperature":0.5}', 5),
            (b'{"system":"123","messages":[{"content":[{"type":"text","text":"45"}]}]}', 5),
            (b'{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:xxxxxxxx"}}]}]}', 0),
            (b'{"contents":[{"parts":[{"text":"12345"},{"inlineData":{"data":"xxxx"}}]}]}', 5),
            (b'{"input":"12345"}', 5),
            (b'{"instructions":"12","input":[{"role":"user","content":[{"type":"input_text","text":"345"}]}]}', 5),
            (b'{"prompt":["12","345"]}', 5),
            (b'{"inputs":"12345"}', 5),
            (b'{"message":"12345"}', 5),
            ('{"prompt":"é"}'.encode(), 2),
        ):
            self.assertEqual(request_text_bytes(body), expected, body)

    def test_unknown_shapes_count_whole(self) -> None:
        """A body of another shape counts with all its bytes."""
        for body in (b"--boundary", b'{"messages":7}', b"[" * 50_000):
            self.assertEqual(request_text_bytes(body), len(body))
