"""JSON that is checked and cut, never rebuilt."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.json_text import SEARCHED_BYTES, find_string, is_json, mask_lone_surrogates, repeated_key

LEGAL = (
    b"null",
    b' {"a": [1, 2.5e10, "x"]} \n',
    b"1" * 5000,
    b'"\\u0000"',
    b'"\\ud83d\\ude00"',
    b'"\\ud800"',
    b'{"a":"\\udc00\\ud800"}',
    b'"\\\\ud800"',
    b'{"a":1,"a":2}',
    '"\u00e9\U0001f600"'.encode(),
    b"-0.0",
    b"1e999",
)
ILLEGAL = (
    b"",
    b" ",
    b"{",
    b"{}{}",
    b"[DONE]",
    b"NaN",
    b"Infinity",
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'{"\xc0\xaf":1}',
    b"\xef\xbb\xbf{}",
    b'"a\nb"',
    b'"a\x00b"',
    b"'a'",
    b"01",
    b'{"a":1,}',
    b'"\\x41"',
    b'"\\ud80"',
    b'["\\ud800"',
    b'["\\ud800", "\xff"]',
)


class IsJSONTests(SynchronousTestCase):
    """What may stand in a text frame as it is."""

    def test_legal(self) -> None:
        """Every legal text passes, however odd."""
        for text in LEGAL:
            self.assertTrue(is_json(text), text[:40])

    def test_illegal(self) -> None:
        """What would break the client's parser, or its socket, does not pass."""
        for text in ILLEGAL:
            self.assertFalse(is_json(text), text[:40])

    def test_deep_nesting(self) -> None:
        """A hundred thousand brackets are an answer, not a crash."""
        self.assertIn(is_json(b"[" * 100_000 + b"]" * 100_000), (True, False))
        self.assertFalse(is_json(b"[" * 100_000))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            st.lists,
            max_leaves=20,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_whatever_python_writes(self, value: object) -> None:
        """Python's own JSON passes, with escapes and without."""
        self.assertTrue(is_json(json.dumps(value).encode()))
        self.assertTrue(is_json(json.dumps(value, ensure_ascii=False).encode()))

    @given(st.binary(max_size=30))
    @settings(max_examples=200, deadline=None)
    def test_agrees_with_python(self, text: bytes) -> None:
        """What passes is JSON to Python as well."""
        if is_json(text):
            json.loads(text)


class LoneSurrogateTests(SynchronousTestCase):
    """Escapes that are legal in JSON and mean no character."""

    def test_found_and_masked(self) -> None:
        """Lone ones are found where they stand; the text keeps its length and is taken by every parser."""
        text = b'["\\ud800", "\\ud83d\\ude00", "\\\\ud800", "\\\\\\udfff", "\\uD83D\\uD83D\\uDE00"]'
        masked, found = mask_lone_surrogates(text)
        self.assertEqual(len(masked), len(text))
        self.assertEqual([text[at : at + 6] for at in found], [b"\\ud800", b"\\udfff", b"\\uD83D"])
        self.assertEqual(json.loads(masked), ["A", "\U0001f600", "\\ud800", "\\A", "A\U0001f600"])

    def test_nothing_to_mask(self) -> None:
        """A text without any is left as it is."""
        text = b'{"a":"\\u0041\\ud83d\\ude00"}'
        self.assertEqual(mask_lone_surrogates(text), (text, []))


class LookingTests(SynchronousTestCase):
    """What is read out of texts that may be anything."""

    def test_repeated_key(self) -> None:
        """A key that stands twice in one object is named; twice in two objects is no repetition."""
        self.assertEqual(repeated_key(b'{"a":{"b":1,"b":2}}'), "b")
        self.assertIsNone(repeated_key(b'{"a":{"b":1},"c":{"b":1}}'))
        self.assertEqual(repeated_key(b'{"ab":1,"\\u0061b":2}'), "ab")

    def test_find_string(self) -> None:
        """The id of a broken message is found where it can be read, and only there."""
        for text, value in (
            (b'{"eventId" : "a", "x": NaN}', "a"),
            (b'{"eventId":"\\u0061\\n"', "a\n"),
            (b'{"eventId":""', ""),
            (b'{"eventId":5}', None),
            (b'{"eventId":"unfinished', None),
            (b'{"eventId":"\\ud800"}', None),
            (b'{"eventId":"\xff"}', None),
            (b"nonsense", None),
            (b" " * SEARCHED_BYTES + b'"eventId":"far"', None),
        ):
            self.assertEqual(find_string(text, b"eventId"), value, text[:40])
