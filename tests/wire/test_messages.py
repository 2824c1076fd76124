"""The exact messages of the universal WebSocket."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.errors import InvalidProvider, TruncatedStream
from aigw.wire import messages

LOG_ID = "019ab0c4-52f1-7c03-b3ab-6a1f0c5d7e21"


def head(content_type: str = "application/json", status: int = 200, step: int = 0) -> AnswerHead:
    """The head of an answer."""
    return AnswerHead(LOG_ID, step, status, content_type, (), content_type.startswith("text/event-stream"))


def response(content_type: str, body: bytes) -> object:
    """What `response` holds for a whole answer of this kind."""
    return json.loads(messages.whole("a", head(content_type), body))["response"]


class ExactTests(SynchronousTestCase):
    """Byte for byte what a client gets."""

    def test_whole_answer(self) -> None:
        """A whole JSON answer stands in the message as the provider wrote it, spaces and all."""
        self.assertEqual(
            messages.whole("weather-1", head(), b'{ "n" : 1.50 }\n'),
            b'{"type":"universal.created","metadata":{"cacheStatus":"MISS","eventId":"weather-1",'
            b'"logId":"019ab0c4-52f1-7c03-b3ab-6a1f0c5d7e21","step":"0","contentType":"application/json","status":200},'
            b'"response":{ "n" : 1.50 }\n}',
        )

    def test_stream(self) -> None:
        """A stream begins without a response, has pieces that name the event id only, and ends with all metadata."""
        kind = head("text/event-stream; charset=utf-8", step=1)
        self.assertEqual(
            messages.created(messages.metadata("a", kind)),
            b'{"type":"universal.created","metadata":{"cacheStatus":"MISS","eventId":"a",'
            b'"logId":"019ab0c4-52f1-7c03-b3ab-6a1f0c5d7e21","step":"1",'
            b'"contentType":"text/event-stream; charset=utf-8","status":200}}',
        )
        self.assertEqual(
            messages.stream_piece(messages.stream_prefix("a"), b'{"delta": "x"}'),
            b'{"type":"universal.stream","metadata":{"eventId":"a"},"response":{"delta": "x"}}',
        )
        self.assertEqual(
            messages.done("a", kind, Outcome(LOG_ID, 1, None, kind)),
            b'{"type":"universal.done","metadata":{"cacheStatus":"MISS","eventId":"a",'
            b'"logId":"019ab0c4-52f1-7c03-b3ab-6a1f0c5d7e21","step":"1",'
            b'"contentType":"text/event-stream; charset=utf-8","status":200,"complete":true}}',
        )

    def test_stream_that_failed(self) -> None:
        """A stream that is not whole ends with the failure's code and words."""
        kind = head("text/event-stream")
        message = json.loads(messages.done("a", kind, Outcome(LOG_ID, 0, TruncatedStream(), kind)))
        self.assertEqual(message["type"], "universal.done")
        self.assertIs(message["metadata"]["complete"], False)
        self.assertEqual(
            message["metadata"]["error"],
            {"code": 4024, "message": "The provider's answer ended before it was complete"},
        )

    def test_error_of_the_gateway(self) -> None:
        """A failure of the gateway is a whole answer, with all metadata and the body that Cloudflare's clients know."""
        outcome = Outcome(LOG_ID, 2, InvalidProvider("opnai"), None)
        self.assertEqual(
            messages.failure("a", outcome),
            b'{"type":"universal.created","metadata":{"cacheStatus":"MISS","eventId":"a",'
            b'"logId":"019ab0c4-52f1-7c03-b3ab-6a1f0c5d7e21","step":"2","contentType":"application/json","status":400},'
            b'"response":{"success":false,"result":[],"messages":[],'
            b'"error":[{"code":2008,"message":"Invalid provider: opnai"}],"name":"AiGatewayError","httpCode":400,'
            b'"internalCode":2008,"message":"Invalid provider: opnai",'
            b'"description":"The request names no provider of the table.","retryable":false}}',
        )

    def test_success_is_no_failure(self) -> None:
        """An exchange that went well cannot be worded as a failure."""
        self.assertRaises(ValueError, messages.failure, "a", Outcome(LOG_ID, 0, None, head()))


class ResponseTests(SynchronousTestCase):
    """What `response` is, by the answer's kind."""

    def test_json(self) -> None:
        """Every kind of JSON, and JSON that calls itself text or nothing, arrives as JSON."""
        for kind in (
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "text/plain",
            "",
        ):
            self.assertEqual(response(kind, b'{"a":1}'), {"a": 1}, kind)

    def test_text(self) -> None:
        """Text arrives as a string, also where JSON was promised; what is no UTF-8 is replaced."""
        for kind in ("text/html", "application/xml", "image/svg+xml", "application/json", "application/x-ndjson", ""):
            self.assertEqual(response(kind, b'<p>caf\xc3\xa9 "\xff"\n\x00'), '<p>caf\u00e9 "\ufffd"\n\x00', kind)

    def test_html_that_is_json(self) -> None:
        """What calls itself HTML is text, whatever it looks like."""
        self.assertEqual(response("text/html", b"5"), "5")

    def test_binary(self) -> None:
        """Sounds and pictures arrive in base64, and the metadata says so."""
        for kind in ("audio/mpeg", "image/png", "application/octet-stream"):
            message = json.loads(messages.whole("a", head(kind), b"\x00\xff\x10"))
            self.assertEqual((message["response"], message["metadata"]["encoding"]), ("AP8Q", "base64"))
            self.assertEqual(message["metadata"]["contentType"], kind)
        self.assertNotIn("encoding", json.loads(messages.whole("a", head(), b"{}"))["metadata"])

    def test_empty(self) -> None:
        """An answer without a body is null, whatever it calls itself."""
        for kind in ("application/json", "audio/mpeg", "text/plain", ""):
            self.assertIsNone(response(kind, b""))

    def test_odd_json(self) -> None:
        """Legal oddities pass as they are; what no parser takes becomes a string."""
        self.assertIn(b'"response":{"t":"\\ud800"}', messages.whole("a", head(), b'{"t":"\\ud800"}'))
        self.assertEqual(response("application/json", b'{"n":NaN}'), '{"n":NaN}')
        self.assertEqual(response("application/json", b"\xef\xbb\xbf{}"), "\ufeff{}")
        self.assertEqual(response("application/json", b'"\xff"'), '"\ufffd"')

    def test_payload_that_is_no_json(self) -> None:
        """An event whose payload is no JSON arrives as a string, an empty one as an empty string."""
        prefix = messages.stream_prefix("a")
        for data, value in ((b"hello", "hello"), (b"", ""), (b"two\nlines", "two\nlines"), (b"\xff", "\ufffd")):
            self.assertEqual(json.loads(messages.stream_piece(prefix, data))["response"], value)

    def test_payload_of_several_lines(self) -> None:
        """JSON that an event spreads over several lines is JSON."""
        piece = messages.stream_piece(messages.stream_prefix("a"), b'{"a":\n1}')
        self.assertEqual(json.loads(piece)["response"], {"a": 1})

    @given(st.binary(max_size=40), st.text(max_size=10), st.sampled_from(["application/json", "text/plain", "", "x/y"]))
    @settings(max_examples=200, deadline=None)
    def test_every_message_is_json(self, data: bytes, event_id: str, kind: str) -> None:
        """Whatever a provider sends under whatever id, the client gets a message that it can read."""
        for message in (
            messages.whole(event_id, head(kind), data),
            messages.stream_piece(messages.stream_prefix(event_id), data),
        ):
            self.assertEqual(json.loads(message.decode("utf-8"))["metadata"]["eventId"], event_id)
