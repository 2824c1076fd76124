"""The head of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.answer_head import answer_head, phrase_of


class AnswerHeadTests(SynchronousTestCase):
    """What a client reads first."""

    def test_lines(self) -> None:
        """A status line, the headers in their order, and an empty line."""
        head = answer_head(b"HTTP/1.1", 429, phrase_of(429), [(b"a", b"1"), (b"a", b"\xff\t2")])
        self.assertEqual(head, b"HTTP/1.1 429 Too Many Requests\r\na: 1\r\na: \xff\t2\r\n\r\n")

    def test_phrases(self) -> None:
        """Every status of a standard has its phrase; a status of nobody's has none."""
        phrases = [phrase_of(status) for status in (200, 422, 451, 503, 529, 799)]
        self.assertEqual(
            phrases,
            [b"OK", b"Unprocessable Entity", b"Unavailable For Legal Reasons", b"Service Unavailable", b"", b""],
        )

    @given(st.lists(st.tuples(st.sampled_from((b"a", b"b")), st.binary(max_size=20)), max_size=5))
    def test_values_end_no_lines(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Whatever a provider or a client said, it makes no header and no answer of its own."""
        head = answer_head(b"HTTP/1.1", 200, b"OK", fields)
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        self.assertEqual(head.count(b"\r"), len(fields) + 2)
        self.assertEqual(head.count(b"\n"), len(fields) + 2)
        self.assertNotIn(b"\x00", head)
        self.assertEqual([line[:2] for line in head.split(b"\r\n")[1:-2]], [name + b":" for name, _ in fields])
