"""AWS's event stream, compared with how AWS's own SDK reads it."""

from __future__ import annotations

import itertools

from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.event_stream import EventStreamParser, Message
from aigw.errors import InvalidAnswer, ProviderFailed, ResponseTooLarge, TruncatedStream
from aigw.testing.event_stream import frame

NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
MESSAGES = st.lists(st.tuples(st.dictionaries(NAMES, st.text(max_size=20), max_size=4), st.binary(max_size=64)))

# Every type of header value: true, false, byte, short, integer, long, bytes, text, timestamp, uuid.
ALL_TYPES = b"".join(
    (
        b"\x01a\x00",
        b"\x01b\x01",
        b"\x01c\x02\x7f",
        b"\x01d\x03\x00\x01",
        b"\x01e\x04\x00\x00\x00\x01",
        b"\x01f\x05" + bytes(8),
        b"\x01g\x06\x00\x02hi",
        b"\x01h\x07\x00\x02ho",
        b"\x01i\x08" + bytes(8),
        b"\x01j\x09" + bytes(16),
    )
)


def theirs(stream: bytes) -> list[Message]:
    """What botocore reads."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    return [
        Message({name.encode(): value.encode() for name, value in message.headers.items()}, message.payload)
        for message in buffer
    ]


class EventStreamTests(SynchronousTestCase):
    """Messages come out whole, or not at all."""

    def parse(self, *chunks: bytes, limit: int = 1_000_000) -> list[Message]:
        parser = EventStreamParser(limit)
        found = [message for chunk in chunks for message in parser.feed(chunk)]
        parser.end()
        return found

    @given(MESSAGES, st.lists(st.integers(0, 400)))
    def test_as_botocore_reads_it(self, messages: list[tuple[dict[str, str], bytes]], cuts: list[int]) -> None:
        """Any messages, in any chunks, are read as botocore reads them."""
        stream = b"".join(
            frame(payload, {name.encode(): value.encode() for name, value in headers.items()})
            for headers, payload in messages
        )
        marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
        chunks = [stream[start:end] for start, end in itertools.pairwise(marks)]
        self.assertEqual(self.parse(*chunks), theirs(stream))

    def test_split_at_every_byte(self) -> None:
        """Where a network cuts the stream makes no difference."""
        stream = frame(b'{"a":1}', {b":event-type": b"chunk"}) + frame(b"") + frame(b"x" * 20, {b"n": b"v"})
        whole = self.parse(stream)
        self.assertEqual(len(whole), 3)
        for at in range(len(stream)):
            self.assertEqual(self.parse(stream[:at], stream[at:]), whole)
        self.assertEqual(self.parse(*(stream[at : at + 1] for at in range(len(stream)))), whole)

    def test_every_type_of_header(self) -> None:
        """Numbers, times and truths are passed over; texts are read."""
        (message,) = self.parse(frame(b"", raw_headers=ALL_TYPES))
        self.assertEqual(message.headers, {b"g": b"hi", b"h": b"ho"})

    def test_any_changed_byte_is_noticed(self) -> None:
        """A flipped bit anywhere fails the stream; no wrong text comes out of it."""
        good = frame(b'{"bytes":"aGk="}', {b":event-type": b"chunk"})
        for at in range(len(good)):
            bad = bytes((*good[:at], good[at] ^ 0x10, *good[at + 1 :]))
            with self.assertRaises(ProviderFailed):
                self.parse(bad)

    def test_a_changed_length_is_noticed_at_once(self) -> None:
        """A message whose length was damaged is not waited for."""
        good = frame(b"payload", {b":event-type": b"chunk"})
        for at in range(12):
            with self.assertRaises(InvalidAnswer):
                EventStreamParser(1 << 32).feed(bytes((*good[:at], good[at] ^ 1, *good[at + 1 : 12])))

    @given(st.binary(max_size=200))
    def test_noise_fails_in_order(self, noise: bytes) -> None:
        """What is no event stream ends with an error of ours, and botocore takes nothing either."""
        try:
            found = self.parse(noise)
        except ProviderFailed:
            return
        try:
            self.assertEqual(found, theirs(noise))
        except ParserError:
            self.fail("botocore refuses it")

    def test_malformed_headers_are_refused(self) -> None:
        """Good checksums around headers that make no sense do not let them through."""
        for block in (b"\x05ab", b"\x01a\x0a", b"\x01a\x07\x00\x09x", b"\x01a\x04\x00", b"\x01a", b"\x01a\x07\x00"):
            with self.assertRaises(InvalidAnswer):
                self.parse(frame(b"payload", raw_headers=block))

    def test_sizes_are_bounded(self) -> None:
        """A message that announces too much is refused before it is collected."""
        big = frame(b"x" * 2000)
        self.assertEqual(len(self.parse(big, limit=len(big))), 1)
        with self.assertRaises(ResponseTooLarge):
            EventStreamParser(len(big) - 1).feed(big[:12])
        with self.assertRaises(InvalidAnswer):
            self.parse(frame(b"", raw_headers=bytes(131_073)))

    def test_a_cut_message_is_no_end(self) -> None:
        """A stream that stops within a message is truncated."""
        with self.assertRaises(TruncatedStream):
            self.parse(frame(b"x")[:-1])
