"""What leaves by one connection, in which order, and when it stops."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.outbox import Outbox, OutStream


class Reader:
    """
    A transport whose buffer holds so many messages.

    Args:
        room: Messages that fit before the producer is paused.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.told: list[str] = []
        self.outbox = Outbox(self._write, lambda: self.told.append("pause"), lambda: self.told.append("resume"))
        self._buffered = 0

    def _write(self, message: bytes) -> None:
        self.written.append(message)
        self._buffered += 1
        if self._buffered >= self.room:
            self.outbox.pauseProducing()

    def read_all(self) -> None:
        """Empty the buffer."""
        self._buffered = 0
        self.outbox.resumeProducing()


class OutboxTests(SynchronousTestCase):
    """A quick reader, a slow one, and one that has left."""

    def setUp(self) -> None:
        self.reader = Reader(room=3)
        self.outbox = self.reader.outbox

    def streams(self, count: int) -> list[Callable[[bytes], None]]:
        """The `put` of so many streams."""
        return [self.outbox.stream().put for _ in range(count)]

    def test_quick_reader_gets_everything_at_once(self) -> None:
        """While the client keeps up, messages leave in the order in which they were made."""
        a, b = self.streams(2)
        a(b"a1")
        b(b"b1")
        self.assertEqual(self.reader.written, [b"a1", b"b1"])
        self.assertEqual((self.outbox.paused, self.outbox.waiting_bytes), (False, 0))

    def test_slow_reader_pauses_its_sources_once(self) -> None:
        """However often the transport complains, the providers are paused once."""
        (put,) = self.streams(1)
        for _ in range(8):
            put(b"x")
        for _ in range(100):
            self.outbox.pauseProducing()
        self.assertEqual(self.reader.told, ["pause"])
        self.assertEqual(self.outbox.waiting_bytes, 5)

    def test_resumed_once_when_nothing_waits(self) -> None:
        """The providers go on once, when the client has caught up, not each time that it reads a little."""
        (put,) = self.streams(1)
        for number in range(8):
            put(b"%d" % number)
        self.reader.read_all()
        self.assertEqual((self.reader.told, len(self.reader.written)), (["pause"], 6))
        self.reader.read_all()
        self.reader.read_all()
        self.assertEqual(self.reader.told, ["pause", "resume"])
        self.assertEqual(self.reader.written, [b"%d" % number for number in range(8)])
        self.assertEqual(self.outbox.waiting_bytes, 0)

    def test_buffer_that_fills_with_the_last_waiting_message_stays_paused(self) -> None:
        """When what waited has filled the buffer again, the providers are not told to go on."""
        (put,) = self.streams(1)
        for _ in range(6):
            put(b"x")
        self.reader.read_all()
        self.assertEqual(self.reader.told, ["pause"])
        self.reader.read_all()
        self.assertEqual(self.reader.told, ["pause", "resume"])

    def test_streams_take_turns(self) -> None:
        """A long answer does not hold up a short one: when a slow client reads on, each stream gives one message."""
        long, short, other = self.streams(3)
        for number in range(20):
            long(b"long%d" % number)
        short(b"short")
        other(b"other")
        self.reader.written.clear()
        self.reader.read_all()
        self.assertEqual(self.reader.written, [b"long3", b"short", b"other"])

    def test_nothing_leaves_after_the_end(self) -> None:
        """Once the client is gone, nothing is written, kept, or resumed."""
        (put,) = self.streams(1)
        for _ in range(5):
            put(b"x")
        self.outbox.close()
        put(b"late")
        self.reader.read_all()
        self.assertEqual(len(self.reader.written), 3)
        self.assertEqual((self.outbox.waiting_bytes, self.reader.told), (0, ["pause"]))

    def test_lost_connection_forgets_what_waits(self) -> None:
        """A transport that stops its producer frees the memory."""
        (put,) = self.streams(1)
        for _ in range(5):
            put(b"x")
        self.outbox.stopProducing()
        self.assertEqual(self.outbox.waiting_bytes, 0)

    @given(st.integers(1, 4), st.lists(st.integers(0, 4), max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_order_within_a_stream(self, room: int, moves: list[int]) -> None:
        """However reading and writing interleave, a stream's messages arrive whole, once, and in their order."""
        reader = Reader(room)
        streams: list[OutStream] = [reader.outbox.stream() for _ in range(4)]
        sent: list[list[bytes]] = [[] for _ in streams]
        for move in moves:
            if move == 4:
                reader.read_all()
                continue
            message = b"%d-%d" % (move, len(sent[move]))
            sent[move].append(message)
            streams[move].put(message)
            self.assertEqual(reader.outbox.waiting_bytes, sum(len(m) for s in streams for m in s.waiting))
        while reader.outbox.paused:
            reader.read_all()
        for number, messages in enumerate(sent):
            self.assertEqual([m for m in reader.written if m.startswith(b"%d-" % number)], messages)
        pairs = ["pause", "resume"] * len(reader.told)
        self.assertEqual(reader.told, pairs[: len(reader.told)])
