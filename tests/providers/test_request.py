"""The model and the text out of a request's body."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.request import ask_of_body, model_of_query, request_text_bytes
from aigw.values.record import TEXT_CHARS


class ModelTests(SynchronousTestCase):
    """Whatever a body holds, the log gets a model or none."""

    def test_usual_bodies(self) -> None:
        """`model`, or `model_id` as voice vendors say, wherever it stands."""
        self.assertEqual(ask_of_body(b'{"model":"gpt-4o","stream":true}').model, "gpt-4o")
        self.assertEqual(ask_of_body(b' \n{"text":"hi","model_id":"eleven_v3"}').model, "eleven_v3")
        self.assertEqual(ask_of_body(b'{"model":"a","model":"b"}').model, "b")

    def test_odd_bodies(self) -> None:
        """A body that names no model, or is no JSON, gives an empty one."""
        for body in (
            b"",
            b"null",
            b"[]",
            b"{",
            b'{"model":7}',
            b'{"model":null}',
            b'{"x":' + b"[" * 100_000,
            b'{"x":' + b"9" * 5_000,
            b'{"model":"\xff"}',
            b"--boundary\r\ncontent-disposition: form-data",
        ):
            self.assertEqual(ask_of_body(body).model, "", body[:40])

    def test_length_of_the_answer(self) -> None:
        """Each vendor words the most that it may write in its own way; what is no number counts as not said."""
        for body, tokens, answers in (
            (b'{"max_tokens":7,"stream":true}', 7, 1),
            (b'{"max_completion_tokens":8,"max_tokens":7,"n":3}', 8, 3),
            (b'{"max_output_tokens":9}', 9, 1),
            (b'{"generationConfig":{"maxOutputTokens":10,"candidateCount":2}}', 10, 2),
            (b'{"inferenceConfig":{"maxTokens":11}}', 11, 1),
            (b'{"max_tokens":"many","n":true,"generationConfig":[]}', 0, 1),
            (b'{"max_tokens":-5,"n":0}', 0, 1),
            (b'{"max_tokens":99999999999,"n":99999}', 10_000_000, 128),
        ):
            ask = ask_of_body(body)
            self.assertEqual((ask.output_tokens, ask.answers), (tokens, answers), body)
        self.assertTrue(ask_of_body(b'{"stream":true}').stream)
        self.assertFalse(ask_of_body(b'{"stream":"yes"}').stream)

    def test_long_names_are_cut(self) -> None:
        """A name of any length stays narrow in the log."""
        self.assertEqual(len(ask_of_body(b'{"model":"' + b"x" * 10_000 + b'"}').model), TEXT_CHARS)

    def test_query_strings(self) -> None:
        """Deepgram's model stands in the query string."""
        self.assertEqual(model_of_query("a=1&model=nova-3"), ("nova-3", True))
        self.assertEqual(model_of_query("a=1"), ("", True))
        self.assertEqual(model_of_query("model=nova-3&model=nova-2"), ("nova-3", False))
        self.assertEqual(model_of_query("m%6Fdel=nova-2&model=nova-3"), ("nova-2", False))

    def test_whether_the_model_is_sure(self) -> None:
        """A body that names several models, or none, or is no JSON, does not tell which one the provider takes."""
        for body in (b'{"model":"a"}', b'{"model_id":"a"}', b'{"model":"a","model_id":"a"}', b' {"model":"a"}'):
            self.assertTrue(ask_of_body(body).sure, body)
        for body in (
            b'{"model":"a","model_id":"b"}',
            b'{"model":"a","models":["b"]}',
            b'{"input":"x"}',
            b'\xef\xbb\xbf{"model":"a"}',
            b"[]",
            b"--boundary\r\ncontent-disposition: form-data",
        ):
            self.assertFalse(ask_of_body(body).sure, body)


class TextTests(SynchronousTestCase):
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
