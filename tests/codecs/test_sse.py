"""Server-sent events, split anywhere."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.sse import Event, SSEParser
from aigw.errors import ResponseTooLarge

MAX_BYTES = 1 << 16


def reference(stream: bytes) -> list[Event]:
    """The standard's algorithm, written for a whole stream and with no thought for speed."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    events, data, name, last_id = [], [], b"", b""
    # What follows the last line end is no line yet.
    for line in re.split(rb"\r\n|\r|\n", stream)[:-1]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                events.append(Event(name, b"\n".join(data), last_id))
            data, name = [], b""
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"id" and b"\0" not in value:
            last_id = value
    return events


def parse(*chunks: bytes, max_event_bytes: int = MAX_BYTES) -> list[Event]:
    """The events of a stream that comes in these chunks."""
    parser = SSEParser(max_event_bytes)
    return [event for chunk in chunks for event in parser.feed(chunk)]


LINE_ENDS = (b"\n", b"\r", b"\r\n", b"\n\n")
FIELDS = (
    b"data",
    b"data: x",
    b"data: {}\n\n",
    b"event",
    b"event: done",
    b"id: 7",
    b"id: \0",
    b"retry: 10",
    b"other: y",
)
REST = (b":", b" ", b": ping", b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xc3\xa9", b"")
PIECES = st.sampled_from(LINE_ENDS + FIELDS + REST)
STREAMS = st.lists(PIECES, max_size=24).map(b"".join)


class SplitTests(SynchronousTestCase):
    """Where the network cuts a stream changes nothing."""

    @given(STREAMS, st.lists(st.integers(0, 120), max_size=8))
    @settings(max_examples=400, deadline=None)
    def test_any_split_gives_the_same_events(self, stream: bytes, cuts: list[int]) -> None:
        """A stream gives the standard's events, however it is cut into chunks."""
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
        self.assertEqual(parse(*chunks), reference(stream))

    def test_every_byte_on_its_own(self) -> None:
        """A stream of every construct, delivered byte by byte, gives the same events as in one piece."""
        stream = (
            b"\xef\xbb\xbf: hello\r\ndata: one\rdata:two\n\nevent: message_stop\r\nid: 3\r\ndata\r\n\r\n"
            b'data: {"a":1}\n\nretry: 5\ndata: [DONE]\n\n'
        )
        expected = [
            Event(b"", b"one\ntwo"),
            Event(b"message_stop", b"", b"3"),
            Event(b"", b'{"a":1}', b"3"),
            Event(b"", b"[DONE]", b"3"),
        ]
        self.assertEqual(parse(stream), expected)
        self.assertEqual(parse(*(stream[i : i + 1] for i in range(len(stream)))), expected)

    def test_each_cut_in_two(self) -> None:
        """Every single place to cut a stream with CRLF line ends is harmless."""
        stream = b'data: {"text":"a"}\r\n\r\nevent: x\r\ndata: b\r\n\r\n'
        for cut in range(len(stream)):
            self.assertEqual(parse(stream[:cut], stream[cut:]), reference(stream), cut)

    def test_an_event_a_chunk(self) -> None:
        """The usual case, a chunk for each event, works from the first chunk to the last."""
        self.assertEqual(
            parse(b"data: 1\n\n", b"data: 2\n\n", b"data: 3\ndata: 4\n\n", b"data: 5\n\n"),
            [Event(b"", b"1"), Event(b"", b"2"), Event(b"", b"3\n4"), Event(b"", b"5")],
        )

    def test_an_event_a_chunk_with_bare_carriage_returns(self) -> None:
        """A server that ends lines with CR alone is read right, also when each event is its own chunk."""
        self.assertEqual(
            parse(b"data: 1\n\n", b"data: 2\rdata: 3\n\n", b"data: 4\r\n\n"),
            [Event(b"", b"1"), Event(b"", b"2\n3"), Event(b"", b"4")],
        )


class PendingTests(SynchronousTestCase):
    """A stream that stops in the middle of an event can be told from one that stops between two."""

    def test_nothing_is_pending_between_events(self) -> None:
        """After a whole event nothing is owed."""
        parser = SSEParser(MAX_BYTES)
        self.assertFalse(parser.pending)
        for chunk in (b"data: 1\n\n", b"event: a\r\ndata: 2\r\n\r\n", b": comment\n"):
            parser.feed(chunk)
            self.assertFalse(parser.pending, chunk)

    def test_an_open_event_is_pending(self) -> None:
        """Half a line, a line without its blank line, and a lone name all count as unfinished."""
        for stream in (b"data: {", b"data: {}\n", b"event: x\n", b"\xef\xbb"):
            parser = SSEParser(MAX_BYTES)
            self.assertEqual(parser.feed(stream), [])
            self.assertTrue(parser.pending, stream)


class SizeTests(SynchronousTestCase):
    """No provider can make the gateway hold more than the owner allows."""

    def test_a_line_without_end_is_refused(self) -> None:
        """A line that never ends is refused at the limit, in one chunk or in many."""
        with self.assertRaises(ResponseTooLarge):
            parse(b"data: " + b"x" * 100, max_event_bytes=64)
        with self.assertRaises(ResponseTooLarge):
            parse(*[b"x"] * 65, max_event_bytes=64)

    def test_many_small_lines_are_refused(self) -> None:
        """An event of endless small lines is refused too."""
        with self.assertRaises(ResponseTooLarge):
            parse(*[b"data: x\n"] * 40, max_event_bytes=64)
        with self.assertRaises(ResponseTooLarge):
            parse(*[b"data\n"] * 65, max_event_bytes=64)

    def test_an_event_at_the_limit_passes(self) -> None:
        """The limit is the largest event that passes, also for events that come one a chunk."""
        largest = b"data: " + b"x" * 58
        self.assertEqual(len(parse(b"data: 1\n\n", largest + b"\n\n", max_event_bytes=64)), 2)
        with self.assertRaises(ResponseTooLarge):
            parse(b"data: 1\n\n", largest + b"x\n\n", max_event_bytes=64)

    def test_comments_for_hours_are_fine(self) -> None:
        """Keep-alive comments are not held, however many come."""
        self.assertEqual(parse(*[b": PROCESSING\n\n"] * 1000, b"data: 1\n\n", max_event_bytes=64), [Event(b"", b"1")])
