"""An answer out of the cache comes as it came from the provider."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aigw.dispatch.reading import Reading
from aigw.dispatch.replay import EVENTS_A_TURN, Replay, StoredReader
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import InternalError
from aigw.interfaces import IUpstreamCall
from aigw.testing.upstream import EVENT_STREAM, JSON
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers
from aigw.values.usage import Usage
from tests.dispatch.parts import ListReply
from tests.upstream.receiver import Recorder

STREAM = b"data: 1\n\nevent: x\r\ndata: 2\r\n\r\ndata: 3\n\ndata: [DONE]\n\n"


class ReplayCase(SynchronousTestCase):
    """Replays, and the turns that they ask for."""

    def setUp(self) -> None:
        self.got = Recorder()
        self.chunks: list[bytes] = []
        self.turns: list[Callable[[], None]] = []

    def replay(self, body: bytes, headers: Headers = EVENT_STREAM, at_once: bool = False) -> Replay:
        """A replay that has not begun."""
        answer = CachedAnswer(201, headers, body, 0, 1, "gpt-4o", Usage(3, 4))
        self.reader = StoredReader(answer)
        data = self.got.data

        def noted(chunk: bytes) -> None:
            self.chunks.append(chunk)
            data(chunk)

        self.got.data = noted  # type: ignore[method-assign]  # each piece is of interest here
        return Replay(answer, self.got, self.reader, at_once, self.turns.append)

    def turn(self) -> None:
        """A turn of the reactor."""
        turns, self.turns[:] = list(self.turns), []
        for each in turns:
            each()


class ReplayTests(ReplayCase):
    def test_whole(self) -> None:
        """An answer that is no stream is told within `begin`, in one piece."""
        replay = self.replay(b'{"a":1}', JSON)
        verifyObject(IUpstreamCall, replay)
        self.assertEqual(self.got.heard, [])
        replay.begin()
        self.assertEqual(self.got.heard, ["head", "data", "completed"])
        self.assertEqual((self.got.status, self.got.headers, self.got.body), (201, JSON, b'{"a":1}'))

    def test_empty(self) -> None:
        """An empty answer has a head and an end."""
        self.replay(b"", JSON).begin()
        self.assertEqual(self.got.heard, ["head", "completed"])

    def test_event_by_event(self) -> None:
        """A stream comes event by event, whatever its lines end with, and every byte of it."""
        self.replay(STREAM).begin()
        self.assertEqual(
            self.chunks, [b"data: 1\n\n", b"event: x\r\ndata: 2\r\n\r\n", b"data: 3\n\n", b"data: [DONE]\n\n"]
        )
        self.assertEqual(self.got.ending, "completed")

    def test_at_once(self) -> None:
        """At once, the whole stream but its end mark is one piece."""
        self.replay(STREAM, at_once=True).begin()
        self.assertEqual(self.chunks, [STREAM[: -len(b"data: [DONE]\n\n")], b"data: [DONE]\n\n"])

    @given(st.lists(st.sampled_from((b"\n", b"\r\n", b"\r", b"data: x", b"a"))).map(b"".join), st.booleans())
    def test_every_byte(self, body: bytes, at_once: bool) -> None:
        """However a stream is cut, no byte is lost or told twice."""
        self.setUp()
        self.replay(body, at_once=at_once).begin()
        self.turn()
        self.assertEqual((b"".join(self.chunks), self.got.ending), (body, "completed"))

    def test_long_stream_lets_others_go_on(self) -> None:
        """A long stream is told in several turns of the reactor."""
        events = 2 * EVENTS_A_TURN + 1
        self.replay(b"data: x\n\n" * events).begin()
        self.assertEqual((len(self.chunks), len(self.turns)), (EVENTS_A_TURN, 1))
        self.turn()
        self.turn()
        self.assertEqual((len(self.chunks), self.got.ending, self.turns), (events, "completed", []))

    def test_pause(self) -> None:
        """A paused replay says nothing, also when its turn comes, and goes on with the next event."""
        replay = self.replay(b"data: x\n\n" * (2 * EVENTS_A_TURN))
        replay.pause()
        replay.begin()
        self.assertEqual(self.got.heard, [])
        replay.resume()
        self.assertEqual(len(self.chunks), EVENTS_A_TURN)
        replay.pause()
        self.turn()
        self.assertEqual(len(self.chunks), EVENTS_A_TURN)
        replay.resume()
        self.turn()
        self.assertEqual((len(self.chunks), self.got.ending), (2 * EVENTS_A_TURN, "completed"))

    def test_pause_within_the_head(self) -> None:
        """A receiver may pause while it is told of the head."""
        replay = self.replay(STREAM)
        self.got.react = lambda name: replay.pause() if name == "head" else None
        replay.begin()
        self.assertEqual(self.got.heard, ["head"])
        replay.resume()
        self.assertEqual(self.got.body, STREAM)

    def test_resume_within(self) -> None:
        """A receiver that pauses and goes on within one piece is not told of the next in the middle of that one."""
        replay = self.replay(STREAM)
        nested = 0

        def react(name: str) -> None:
            nonlocal nested
            self.assertEqual(nested, 0)
            nested += 1
            replay.pause()
            replay.resume()
            nested -= 1

        self.got.react = react
        replay.begin()
        self.assertEqual((self.got.body, self.got.ending, nested), (STREAM, "completed", 0))

    def test_resume_before_its_turn(self) -> None:
        """Who pauses and goes on while a turn is waited for still lets the others have theirs."""
        replay = self.replay(b"data: x\n\n" * (2 * EVENTS_A_TURN))
        replay.begin()
        replay.pause()
        replay.resume()
        self.assertEqual((len(self.chunks), len(self.turns)), (EVENTS_A_TURN, 1))

    def test_resume_before_begin(self) -> None:
        """Nothing is told before `begin`."""
        replay = self.replay(STREAM)
        replay.pause()
        replay.resume()
        self.assertEqual(self.got.heard, [])

    def test_stop(self) -> None:
        """A stopped replay says nothing more, in this turn or in a later one."""
        replay = self.replay(b"data: x\n\n" * 100)
        self.got.react = lambda name: replay.stop() if len(self.chunks) == 2 else None
        replay.begin()
        replay.resume()
        self.turn()
        self.assertEqual(self.got.heard, ["head", "data", "data"])

    def test_broken_receiver(self) -> None:
        """A defect in the exchange is told to it as one; its client does not wait for ever."""

        def break_down(name: str) -> None:
            if name == "data":
                raise ZeroDivisionError

        replay = self.replay(STREAM)
        self.got.react = break_down
        replay.begin()
        self.assertIsInstance(self.got.error, InternalError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StoredReaderTests(ReplayCase):
    """How an exchange reads a kept answer: as it reads a provider's, whatever the dialect."""

    def read(self, body: bytes, headers: Headers, reply: ListReply, at_once: bool = False) -> Reading:
        """An answer, read to its end."""
        replay = self.replay(body, headers, at_once)
        reading = Reading(self.reader, reply, DispatchSettings())

        def hear(name: str) -> None:
            if name == "head":
                reading.begin("log", 0, self.got.status, self.got.headers)
            elif name == "data":
                reading.feed(self.chunks[-1])
            else:
                reading.end()

        self.got.react = hear
        replay.begin()
        self.assertEqual(self.got.ending, "completed")
        return reading

    def test_stream(self) -> None:
        """A stream of any dialect is complete, and its usage is that of the call that made it."""
        reply = ListReply()
        reading = self.read(b'data: {"type":"of another vendor"}\n\n', EVENT_STREAM, reply)
        self.assertTrue(reading.whole)
        self.assertEqual(reply.events[0].data, b'{"type":"of another vendor"}')
        self.assertEqual(
            (self.reader.usage, self.reader.estimate(b""), self.reader.model), (Usage(3, 4),) * 2 + ("gpt-4o",)
        )

    def test_end_mark_waits_for_the_record(self) -> None:
        """Over HTTP the last event of a stream is held back until the record is safe, at once or event by event."""
        for at_once in (False, True):
            self.setUp()
            reply = ListReply(wants_whole=False, holds_end=True)
            reading = self.read(STREAM, EVENT_STREAM, reply, at_once)
            self.assertEqual(reading.tail(), b"data: [DONE]\n\n")
            self.assertEqual(b"".join(reply.chunks) + reading.tail(), STREAM)

    def test_json(self) -> None:
        """An answer that is no stream comes whole."""
        reading = self.read(b'{"a":1}', (*JSON, (b"content-length", b"7")), ListReply())
        self.assertEqual((reading.body, reading.whole), (b'{"a":1}', True))
