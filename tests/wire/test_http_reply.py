"""How an answer leaves over HTTP: its last bytes, its breaks, its silences and its slow readers."""

from __future__ import annotations

import gzip
import json

from aigw.errors import TruncatedStream
from aigw.testing.data_port import MemoryDataPort
from aigw.testing.socket import Link, RawClient
from aigw.testing.upstream import EVENT_STREAM, JSON
from aigw.wire.http_reply import HEARTBEAT
from aigw.wire.http_routes import FrontSettings
from tests.dispatch.parts import SteppedSink
from tests.wire.http_client import CLOSED, FRONT, OPEN, HttpCase

PIECE = b'{"choices":[{"index":0,"delta":{"content":"a"}}]}'
DONE = b"data: [DONE]\n\n"


class ReplyCase(HttpCase):
    """A client whose request a provider has taken."""

    def begin(self, **request: object) -> tuple[Link, RawClient]:
        """Ask; the answer is the test's."""
        link, client = self.ask(**request)
        self.assertEqual(client.received, b"")
        return link, client


class EndTests(ReplyCase):
    """What completes an answer leaves behind its record."""

    def setUp(self) -> None:
        self.sink = SteppedSink(None)  # type: ignore[arg-type]  # it is stepped by hand and needs no clock
        self.port = MemoryDataPort(gateways=(CLOSED, OPEN), front=FRONT, sink=self.sink)
        self.link, self.client = self.ask()
        self.sink.flush()

    def assert_ends_behind_the_record(self, most: bytes, whole: bytes) -> None:
        """Until the record is safe the client has so much of the body, and then all of it."""
        self.link.settle()
        before = self.answer(self.client)
        self.assertEqual((before.body, before.whole), (most, False))
        self.assertEqual(self.sink.waiting, 1)
        self.sink.flush()
        self.link.settle()
        after = self.answer(self.client)
        self.assertEqual((after.body, after.whole), (whole, True))
        self.assertFalse(self.client.lost)

    def test_promised_length(self) -> None:
        """Of an answer with a length, the bytes that fill it wait; those before do not."""
        self.call.head(headers=(*JSON, (b"content-length", b"7")))
        self.call.data(b'{"a"', b":1", b"}")
        self.call.complete()
        self.assert_ends_behind_the_record(b'{"a":1', b'{"a":1}')

    def test_chunks(self) -> None:
        """An answer without a length leaves as it comes; its end waits."""
        self.call.answer(b"{}")
        self.assert_ends_behind_the_record(b"{}", b"{}")

    def test_stream(self) -> None:
        """Of a stream, everything from its end mark on waits."""
        self.call.head(headers=EVENT_STREAM)
        self.call.events(PIECE)
        self.call.data(DONE[:8], DONE[8:])
        self.call.complete()
        first = b"data: %b\n\n" % PIECE
        self.assert_ends_behind_the_record(first + DONE[:8], first + DONE)

    def test_nothing_but_a_head(self) -> None:
        """An answer without a body has only its head; that it is the end does not show before the record is safe."""
        self.call.answer(b"", headers=((b"content-length", b"0"),))
        self.link.settle()
        self.assertEqual(self.client.received, b"")
        self.sink.flush()
        self.link.settle()
        answer = self.answer(self.client)
        self.assertEqual((answer.status, answer.header("content-length"), answer.whole), (200, "0", True))


class BodylessTests(ReplyCase):
    """Answers that have no body by their nature."""

    def test_head(self) -> None:
        """HEAD gets status and headers, the length of a body among them, and no body; the connection lives on."""
        link, client = self.begin(path="/v1/local/open/openai/models", method="HEAD", body=None)
        self.call.head(headers=(*JSON, (b"content-length", b"1234"), (b"x-request-id", b"req_1")))
        self.call.complete()
        link.settle()
        top, _, rest = client.received.partition(b"\r\n\r\n")
        self.assertIn(b"content-length: 1234", top.lower())
        self.assertIn(b"x-request-id: req_1", top.lower())
        self.assertIn(b"cf-aig-log-id: ", top.lower())
        self.assertEqual((rest, client.lost), (b"", False))
        self.assert_no_leftovers()

    def test_head_of_a_stream(self) -> None:
        """HEAD of what would be a stream is no stream that was cut."""
        link, client = self.begin(path="/v1/local/open/openai/responses/resp_1", method="HEAD", body=None)
        self.call.head(headers=EVENT_STREAM)
        self.call.complete()
        link.settle()
        self.assertIn(b"HTTP/1.1 200 ", client.received)
        self.assertFalse(client.lost)
        self.assertTrue(self.port.sink.ended[0].success)

    def test_statuses(self) -> None:
        """204 and 304 end with their head, without a length, and the next request on the connection is served."""
        for status in (204, 304):
            link, client = self.begin(method="DELETE", body=None)
            self.call.answer(b"", status=status, headers=((b"etag", b'"x"'),))
            link.settle()
            answer = self.answer(client)
            self.assertEqual((answer.status, answer.body, answer.header("etag")), (status, b"", '"x"'))
            self.assertIsNone(answer.header("transfer-encoding"))
            self.assertFalse(client.lost)


class BreakTests(ReplyCase):
    """Answers that cannot be completed."""

    def test_stream_cut(self) -> None:
        """A stream whose end mark never came cuts the connection: no client takes the part for the whole."""
        link, client = self.begin()
        self.call.head(headers=EVENT_STREAM)
        self.call.events(PIECE)
        self.call.complete()
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.body, answer.whole, client.lost), (b"data: %b\n\n" % PIECE, False, True))
        (record,) = self.port.sink.ended
        self.assertEqual((record.error_code, record.complete, record.status), (4024, False, 200))
        self.assert_no_leftovers()

    def test_body_cut(self) -> None:
        """So does a body that its provider breaks off."""
        for headers in (JSON, (*JSON, (b"content-length", b"9"))):
            self.setUp()
            link, client = self.begin()
            self.call.head(headers=headers)
            self.call.data(b'{"a":')
            self.call.fail(TruncatedStream())
            link.settle()
            self.assertEqual((self.answer(client).whole, client.lost), (False, True))
            self.assert_no_leftovers()

    def test_failure_before_the_head(self) -> None:
        """A failure before anything was sent is an error in JSON, and the connection lives on."""
        link, client = self.begin()
        self.call.fail(TruncatedStream())
        link.settle()
        self.assert_refused(self.answer(client), 502, 4024)
        self.assertFalse(client.lost)

    def test_error_within_a_stream(self) -> None:
        """An error event passes unchanged; the log knows that the answer failed."""
        link, client = self.begin()
        self.call.head(headers=EVENT_STREAM)
        error = b'{"error":{"message":"overloaded","type":"server_error"}}'
        self.call.events(error)
        self.call.data(DONE)
        self.call.complete()
        link.settle()
        self.assertIn(b"data: %b\n\n" % error, self.answer(client).body)
        self.assertFalse(self.port.sink.ended[0].success)

    def test_error_in_a_stream_without_an_end_mark(self) -> None:
        """A stream of a vendor that marks no end, and reports an error, ends as the vendor ended it."""
        link, client = self.begin(path="/v1/local/open/fal/fal-ai/flux/stream")
        self.call.head(headers=EVENT_STREAM)
        self.call.events(b'{"error": {"message": "out of memory"}}')
        self.call.complete()
        link.settle()
        self.assertEqual((self.answer(client).whole, client.lost), (True, False))
        self.assertFalse(self.port.sink.ended[0].success)

    def test_client_leaves(self) -> None:
        """A client that leaves stops its provider, before and within the answer, and the record says so."""
        for begun in (False, True):
            self.setUp()
            link, _ = self.begin()
            if begun:
                self.call.head(headers=EVENT_STREAM)
                self.call.events(PIECE)
                link.settle()
            link.vanish()
            link.settle()
            self.assertTrue(self.call.stopped)
            self.assertEqual(self.port.sink.ended[0].error_code, 4990)
            self.assert_no_leftovers()

    def test_drained(self) -> None:
        """An answer that the stopping gateway cuts short ends its connection; the record says why."""
        link, client = self.begin()
        self.call.head(headers=EVENT_STREAM)
        self.call.events(PIECE)
        link.settle()
        self.port.dispatcher.abandon_all()
        link.settle()
        self.assertTrue(client.lost)
        self.assertEqual(self.port.sink.ended[0].error_code, 4992)
        self.assert_no_leftovers()


class HeartbeatTests(ReplyCase):
    """Streams that say nothing for a while."""

    def stream(self, *headers: tuple[bytes, bytes]) -> tuple[Link, RawClient]:
        """A stream that has begun."""
        link, client = self.begin()
        self.call.head(headers=(*EVENT_STREAM, *headers))
        link.settle()
        return link, client

    def test_silence(self) -> None:
        """In a silent stream a comment comes every `heartbeat_s` seconds, from the head on and to the end."""
        link, client = self.stream()
        link.advance(25.0)
        self.assertEqual(self.answer(client).body, HEARTBEAT * 2)
        self.call.events(PIECE)
        link.advance(9.0)
        self.assertEqual(self.answer(client).body.count(HEARTBEAT), 2)
        link.advance(2.0)
        self.assertTrue(self.answer(client).body.endswith(b"\n\n" + HEARTBEAT))
        self.call.data(DONE)
        self.call.complete()
        link.advance(25.0)
        self.assertEqual((self.answer(client).body.count(HEARTBEAT), self.answer(client).whole), (3, True))

    def test_only_between_events(self) -> None:
        """No comment comes within an event, wherever the provider's bytes were cut and whatever its lines end with."""
        for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
            event = b"data: " + PIECE + end
            for cut in range(len(event) - len(end) - 1, len(event)):
                self.setUp()
                link, client = self.stream()
                self.call.data(event[:cut])
                link.advance(25.0)
                self.assertEqual(self.answer(client).body, event[:cut])
                for byte in event[cut:]:
                    self.call.data(bytes([byte]))
                link.advance(12.0)
                self.assertEqual(self.answer(client).body, event + HEARTBEAT, (end, cut))
                link.vanish()

    def test_streams_that_take_no_comments(self) -> None:
        """What promised its length, is compressed or is no text gets no comment: it would not be the same bytes."""
        for headers in (
            ((b"content-type", b"text/event-stream"), (b"content-length", b"1000")),
            ((b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")),
            ((b"content-type", b"application/vnd.amazon.eventstream"),),
            ((b"content-type", b"application/json"),),
            ((b"content-type", b"audio/mpeg"),),
        ):
            self.setUp()
            link, client = self.begin(
                path="/v1/local/open/aws-bedrock/bedrock-runtime/us-east-1/model/m/converse-stream"
            )
            self.call.head(headers=headers)
            self.call.data(b"\x00\x01")
            link.advance(40.0)
            self.assertNotIn(HEARTBEAT, client.received, headers)
            link.vanish()

    def test_switched_off(self) -> None:
        """With `heartbeat_s = 0` there is none."""
        self.port = MemoryDataPort(gateways=(CLOSED, OPEN), front=FrontSettings(heartbeat_s=0))
        link, client = self.stream()
        link.advance(60.0)
        self.assertEqual(self.answer(client).body, b"")


class SlowReaderTests(ReplyCase):
    """Clients that take their time to read."""

    front = FrontSettings(heartbeat_s=10.0, stalled_s=30.0)

    def test_back_pressure(self) -> None:
        """While a client does not read, its provider is paused; nothing is lost, and no comment piles up."""
        link, client = self.begin()
        self.call.head(headers=EVENT_STREAM)
        link.settle()
        link.client_pipe.reading = False
        for _ in range(10):
            self.call.data(b"data: " + b"x" * 20_000 + b"\n\n")
        link.settle()
        self.assertTrue(self.call.paused)
        link.advance(25.0, step_s=1.0)
        link.client_pipe.reading = True
        link.settle()
        self.assertFalse(self.call.paused)
        self.assertEqual(self.answer(client).body.count(b"data: "), 10)
        self.assertNotIn(HEARTBEAT, self.answer(client).body)
        self.call.data(DONE)
        self.call.complete()
        link.settle()
        self.assertTrue(self.answer(client).whole)

    def test_only_its_own_provider(self) -> None:
        """Another client's provider is not paused with it."""
        slow, _ = self.begin()
        slow_call = self.call
        quick, client = self.begin()
        slow.client_pipe.reading = False
        slow_call.head(headers=JSON)
        slow_call.data(b"x" * 100_000)
        self.call.answer(b"{}")
        quick.settle()
        self.assertEqual((slow_call.paused, self.answer(client).whole), (True, True))

    def test_stalled(self) -> None:
        """A client that takes nothing at all for `stalled_s` is dropped, and its provider stopped."""
        link, _ = self.begin()
        link.client_pipe.reading = False
        self.call.head(headers=JSON)
        self.call.data(b"x" * 100_000)
        link.advance(25.0, step_s=1.0)
        self.assertFalse(self.call.stopped)
        link.advance(10.0, step_s=1.0)
        self.assertTrue(self.call.stopped)
        self.assertEqual(self.port.server.channels, set())
        self.assertEqual(self.port.sink.ended[0].error_code, 4990)
        self.assert_no_leftovers()

    def test_never_fetched(self) -> None:
        """A client that asks to close and then never takes its answer does not hold its connection for ever."""
        link, client = self.begin(headers=[("Connection", "close")])
        link.client_pipe.reading = False
        self.call.answer(b"x" * 50_000)
        link.advance(50.0, step_s=1.0)
        self.assertEqual(len(self.port.server.channels), 1)
        link.advance(15.0, step_s=1.0)
        self.assertEqual((self.port.server.channels, client.lost), (set(), True))


class CodingTests(ReplyCase):
    """Answers that are compressed though nobody asked."""

    def test_compressed(self) -> None:
        """They pass as they are, with their header."""
        link, client = self.begin()
        coded = gzip.compress(b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}')
        self.call.answer(coded, headers=(*JSON, (b"content-encoding", b"gzip")))
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.body, answer.header("content-encoding")), (coded, "gzip"))
        self.assertTrue(self.port.sink.ended[0].success)

    def test_compressed_stream(self) -> None:
        """A compressed stream passes to its end as well: that it cannot be read along is no reason to cut it."""
        link, client = self.begin()
        coded = gzip.compress(b"data: %b\n\n%b" % (PIECE, DONE))
        self.call.answer(coded, headers=(*EVENT_STREAM, (b"content-encoding", b"gzip")))
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.body, answer.whole, client.lost), (coded, True, False))
        self.assertTrue(self.port.sink.ended[0].success)

    def test_usage_of_a_compressed_stream(self) -> None:
        """What it counts is in the log all the same; a coding that nobody knows passes, too."""
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
        for name, coded, tokens in ((b"gzip", gzip.compress(usage + DONE), (1, 2)), (b"br", b"\x8b\x01", None)):
            link, client = self.begin()
            self.call.answer(coded, headers=(*EVENT_STREAM, (b"content-encoding", name)))
            link.settle()
            self.assertEqual((self.answer(client).body, self.answer(client).whole), (coded, True))
            found = self.port.sink.ended[-1].usage
            self.assertEqual(found and (found.tokens_in, found.tokens_out), tokens)

    def test_usage(self) -> None:
        """The record of a plain answer has its usage and its price."""
        link, _ = self.begin()
        self.call.answer(
            json.dumps({"model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}).encode()
        )
        link.settle()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.cost_nanousd), (1, 2, 30))
