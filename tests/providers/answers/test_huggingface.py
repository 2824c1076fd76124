"""Hugging Face's text generation in its own form."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse


class HuggingFaceTests(SynchronousTestCase):
    """Shapes: huggingface.co/docs/text-generation-inference."""

    def test_a_stream(self) -> None:
        """The last token repeats the whole text and ends the stream; input is guessed, output counted."""
        token = b'{"index":1,"token":{"id":4,"text":" you","logprob":-1,"special":false},"generated_text":null}'
        last = token.replace(b'"generated_text":null', b'"generated_text":"Hi you","details":{"generated_tokens":2}')
        reader = read_stream("huggingface", sse(token, last))
        self.assertTrue(reader.terminal)
        self.assertEqual(reader.estimate(b'{"inputs":"Say hello"}'), Usage(3, 2, estimated=True))
        self.assertFalse(read_stream("huggingface", sse(token)).terminal)

    def test_whole_answers(self) -> None:
        """A list of texts is guessed from; other lists are complete and say nothing."""
        self.assertEqual(read_body("huggingface", b'[{"generated_text":"Hi you"}]').text_bytes, 6)
        self.assertTrue(read_body("huggingface", b"[[0.1,0.2]]").terminal)
