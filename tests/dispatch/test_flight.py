"""One call, any number of seats: what each hears, who pays, and when the provider is stopped."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aigw.controls.cache import CachePlan
from aigw.dispatch.flight import Memory
from aigw.dispatch.flights import Flights
from aigw.dispatch.seat import CHUNK_BYTES, Seat
from aigw.errors import ConnectFailed, FellBehind, InternalError, TruncatedStream
from aigw.interfaces import IUpstreamCall, IUpstreamReceiver
from aigw.testing.upstream import EVENT_STREAM, ScriptedCall, ScriptedUpstream
from aigw.values.usage import Usage
from tests.dispatch.flying import ALONE, NOW_MS, REQUEST, SHARED, DictStore, cache
from tests.testing.test_upstream import UpstreamContract
from tests.upstream.receiver import Recorder

TURN_CHUNKS = 20
TEXT = ((b"content-type", b"text/plain"),)


class FlightCase(SynchronousTestCase):
    """Flights over a scripted provider."""

    memory = Memory()

    def setUp(self) -> None:
        self.upstream = ScriptedUpstream()
        self.store = DictStore()
        self.memory = Memory(flight_bytes=100 * CHUNK_BYTES, turn_chunks=TURN_CHUNKS)
        self.turns: list[Callable[[], None]] = []
        self.flights = Flights(cache(self.store), self.turns.append, self.memory)

    def board(self, plan: CachePlan = SHARED, begin: bool = True) -> tuple[Seat, Recorder]:
        """One more exchange."""
        got = Recorder()
        seat = self.flights.board(plan, lambda receiver: self.upstream.send(REQUEST, receiver), got)
        if begin:
            seat.begin()
        return seat, got

    @property
    def call(self) -> ScriptedCall:
        """The provider's latest call."""
        return self.upstream.last


class SeatContractTests(UpstreamContract, FlightCase):
    """To its exchange, a seat is a call like any other."""

    def send(self) -> IUpstreamCall:
        seat, self.got = self.board()
        return seat

    def head(self) -> None:
        self.call.head(201, TEXT)

    def data(self, data: bytes) -> None:
        self.call.data(data)

    def complete(self) -> None:
        self.call.complete()

    def cut(self) -> None:
        self.call.fail(TruncatedStream())

    def closed(self) -> bool:
        return self.call.stopped

    def test_nothing_is_held_at_the_end(self) -> None:
        """A call that is over leaves nothing in memory."""
        self.send()
        self.head()
        self.data(b"one")
        self.complete()
        self.assertEqual((self.memory.held_bytes, len(self.flights)), (0, 0))


class SharingTests(FlightCase):
    """Identical requests in flight share one call."""

    def test_followers_hear_all(self) -> None:
        """Whoever comes in the middle hears everything from the beginning, and the provider is asked once."""
        _, first = self.board()
        self.call.head(200, TEXT)
        self.call.data(b"one", b"two")
        _, late = self.board()
        self.call.data(b"three")
        self.call.complete()
        for got in (first, late):
            self.assertEqual(got.heard, ["head", "data", "data", "data", "completed"])
            self.assertEqual(got.body, b"onetwothree")
        self.assertEqual((len(self.upstream.calls), self.flights.joined), (1, 1))

    def test_interface(self) -> None:
        """To the upstream, a flight is a receiver like any other."""
        self.board()
        (flight,) = self.flights._listed.values()
        verifyObject(IUpstreamReceiver, flight)

    def test_off(self) -> None:
        """Without single flight each request makes a call of its own."""
        self.board(ALONE)
        self.board(ALONE)
        self.assertEqual(len(self.upstream.calls), 2)

    def test_silent_before_begin(self) -> None:
        """A follower hears nothing until its exchange is ready, and then all of it at once."""
        self.board()
        self.call.head(200, TEXT)
        self.call.data(b"one")
        seat, got = self.board(begin=False)
        self.assertEqual(got.heard, [])
        seat.begin()
        self.assertEqual(got.heard, ["head", "data"])

    def test_first_leaves(self) -> None:
        """The caller whose request made the call may leave; the others get their answer, and one of them pays."""
        first, _ = self.board()
        second, got = self.board()
        third, _ = self.board()
        self.assertEqual([seat.owns for seat in (first, second, third)], [True, False, False])
        self.call.head(200, TEXT)
        first.stop()
        self.call.data(b"one")
        self.call.complete()
        self.assertEqual(got.heard, ["head", "data", "completed"])
        self.assertEqual([seat.owns for seat in (first, second, third)], [False, True, False])

    def test_last_leaves(self) -> None:
        """When the last caller has left, the provider is stopped at once, and the next caller asks anew."""
        first, _ = self.board()
        second, _ = self.board()
        first.stop()
        self.assertFalse(self.call.stopped)
        second.stop()
        self.assertTrue(self.call.stopped)
        self.assertEqual([first.owns, second.owns], [False, True])
        self.assertFalse(self.flights.has(SHARED))
        self.board()
        self.assertEqual(len(self.upstream.calls), 2)

    def test_error_status(self) -> None:
        """An error of the provider reaches those who wait; whoever comes then tries anew."""
        _, first = self.board()
        _, second = self.board()
        self.call.head(503, TEXT)
        self.assertEqual((first.status, second.status), (503, 503))
        self.assertFalse(self.flights.has(SHARED))

    def test_failure(self) -> None:
        """A failure reaches all, the paused ones too, each once; the one who made the call owns the attempt."""
        first, one = self.board()
        second, two = self.board()
        second.pause()
        self.call.fail(ConnectFailed())
        self.assertEqual((one.ending, two.ending), ("ConnectFailed", "ConnectFailed"))
        self.assertEqual((one.heard, two.heard), (["failed"], ["failed"]))
        self.assertEqual([first.owns, second.owns], [True, False])

    def test_failures_meet_again(self) -> None:
        """Exchanges that try again within the failure share the next call, too."""
        _, one = self.board()
        _, two = self.board()
        one.react = two.react = lambda name: self.board()
        self.call.fail(ConnectFailed())
        self.assertEqual((len(self.upstream.calls), len(self.upstream.running)), (2, 1))

    def test_leaving_within_a_failure(self) -> None:
        """An exchange that ends another one while both are told of a failure ends it for good."""
        _, one = self.board()
        second, two = self.board()
        one.react = lambda name: second.stop()
        self.call.fail(ConnectFailed())
        self.assertEqual((one.heard, two.heard), (["failed"], []))

    def test_resent(self) -> None:
        """That the request went out twice is told to those who sat there."""
        _, one = self.board()
        self.call.resend()
        _, two = self.board()
        self.assertEqual((one.heard, two.heard), (["resent"], []))

    def test_cookies(self) -> None:
        """A cookie is for the caller whose request made the call, for nobody else."""
        _, one = self.board()
        _, two = self.board()
        self.call.head(200, (*TEXT, (b"set-cookie", b"session=1")))
        self.assertIn((b"set-cookie", b"session=1"), one.headers)
        self.assertEqual(two.headers, TEXT)

    def test_unsendable(self) -> None:
        """A request that cannot be sent is nobody's flight."""

        def start(receiver: object) -> IUpstreamCall:
            raise ConnectFailed

        self.assertRaises(ConnectFailed, self.flights.board, SHARED, start, Recorder())
        self.assertFalse(self.flights.has(SHARED))

    def test_bounded(self) -> None:
        """Beyond the bound a call is its exchange's own."""
        self.flights = Flights(cache(self.store), self.turns.append, listed=0)
        self.board()
        self.board()
        self.assertEqual((len(self.upstream.calls), len(self.flights)), (2, 0))


class PaceTests(FlightCase):
    """Slow readers."""

    def test_slow_follower(self) -> None:
        """A slow follower does not stall the others, and reads later what it missed."""
        _, one = self.board()
        slow, two = self.board()
        slow.pause()
        self.call.head(200, TEXT)
        self.call.data(b"one", b"two")
        self.assertFalse(self.call.paused)
        self.assertEqual((one.body, two.heard), (b"onetwo", []))
        slow.resume()
        self.assertEqual(two.body, b"onetwo")

    def test_all_slow(self) -> None:
        """The provider is paused only while nobody reads."""
        first, _ = self.board()
        second, _ = self.board()
        first.pause()
        self.assertFalse(self.call.paused)
        second.pause()
        self.assertTrue(self.call.paused)
        third, _ = self.board()
        self.assertFalse(self.call.paused)
        third.stop()
        self.assertTrue(self.call.paused)
        first.resume()
        self.assertFalse(self.call.paused)

    def test_reader_leaves(self) -> None:
        """When the only one who reads leaves, the provider waits for the others."""
        first, _ = self.board()
        second, _ = self.board()
        second.pause()
        first.stop()
        self.assertTrue(self.call.paused)

    def test_pause_within(self) -> None:
        """A reader that pauses in the middle of what it missed goes on where it stopped."""
        _, one = self.board()
        slow, two = self.board()
        slow.pause()
        self.call.head(200, TEXT)
        self.call.data(b"one", b"two", b"three")
        two.react = lambda name: slow.pause() if two.body == b"one" else None
        slow.resume()
        self.assertEqual(two.body, b"one")
        slow.resume()
        self.call.complete()
        self.assertEqual((one.body, two.body, two.ending), (b"onetwothree", b"onetwothree", "completed"))

    def test_resume_within(self) -> None:
        """A reader that pauses and goes on within one piece is not told of the next in the middle of that one."""
        slow, got = self.board()
        slow.pause()
        self.call.head(200, TEXT)
        self.board()
        self.call.data(b"one", b"two")
        nested = 0

        def react(name: str) -> None:
            nonlocal nested
            self.assertEqual(nested, 0)
            nested += 1
            slow.pause()
            slow.resume()
            nested -= 1

        got.react = react
        slow.resume()
        self.assertEqual((got.heard, nested), (["head", "data", "data"], 0))

    def test_catching_up_lets_others_go_on(self) -> None:
        """Who comes late into a long stream is told of it in several turns of the reactor, in its order."""
        _, one = self.board()
        self.call.head(200, TEXT)
        for number in range(2 * TURN_CHUNKS):
            self.call.data(b"%d," % number)
        late, two = self.board()
        self.call.data(b"more,")
        self.assertEqual((two.heard.count("data"), len(self.turns)), (TURN_CHUNKS, 1))
        late.pause()
        self.turns.pop()()
        self.assertEqual(two.heard.count("data"), TURN_CHUNKS)
        late.resume()
        self.call.complete()
        self.assertNotIn("completed", two.heard)
        self.turns.pop()()
        self.assertEqual((two.body, two.ending), (one.body, "completed"))
        self.assertEqual((self.memory.held_bytes, self.turns), (0, []))

    def test_leaving_before_its_turn(self) -> None:
        """Who leaves while it catches up hears nothing more."""
        first, _ = self.board()
        self.call.head(200, TEXT)
        self.call.data(*[b"x"] * (2 * TURN_CHUNKS))
        late, got = self.board()
        late.stop()
        first.stop()
        self.turns.pop()()
        self.assertEqual(len(got.body), TURN_CHUNKS)
        self.assertTrue(self.call.stopped)

    def test_fell_behind(self) -> None:
        """One who lags by more than the bound is given up with a clear error; the others hear everything."""
        first, one = self.board()
        lagging, two = self.board()
        lagging.pause()
        self.call.head(200, TEXT)
        for _ in range(102):
            self.call.data(b"x")
        self.assertEqual(two.heard, ["failed"])
        self.assertIsInstance(two.error, FellBehind)
        self.assertEqual(len(one.body), 102)
        self.assertLessEqual(self.memory.held_bytes, 2 * CHUNK_BYTES)
        self.assertTrue(first.owns)
        self.assertFalse(self.flights.has(SHARED))

    def test_owner_falls_behind(self) -> None:
        """The cost follows those who are still there."""
        first, _ = self.board()
        second, _ = self.board()
        first.pause()
        self.call.head(200, TEXT)
        for _ in range(102):
            self.call.data(b"x")
        self.assertEqual([first.owns, second.owns], [False, True])

    def test_no_room_for_all(self) -> None:
        """When all flights together hold too much, the next answers pass without being recorded."""
        self.memory.total_bytes = CHUNK_BYTES + 10
        _, one = self.board()
        self.call.head(200, TEXT)
        self.call.data(b"one", b"two")
        self.assertFalse(self.flights.has(SHARED))
        self.assertEqual(self.memory.held_bytes, 0)
        self.call.data(b"three")
        self.call.complete()
        self.assertEqual(one.body, b"onetwothree")

    def test_broken_exchange(self) -> None:
        """A defect in one exchange is that exchange's end, and nobody else's."""
        first, one = self.board()
        second, two = self.board()

        def break_down(name: str) -> None:
            if name == "data":
                raise ZeroDivisionError

        one.react = break_down
        self.call.head(200, TEXT)
        self.call.data(b"one")
        self.call.complete()
        self.assertIsInstance(one.error, InternalError)
        self.assertEqual((two.body, two.ending), (b"one", "completed"))
        self.assertEqual([first.owns, second.owns], [False, True])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RecordingTests(FlightCase):
    """What becomes of a whole answer."""

    def vouching(self, plan: CachePlan = ALONE, log_id: str = "log-1") -> tuple[Seat, Recorder]:
        """An exchange that finds its answer good."""
        seat, got = self.board(plan)
        usage = Usage(3, 4)
        got.react = lambda name: seat.vouch("gpt-4o", usage, log_id) if name == "completed" else None
        return seat, got

    def test_stored(self) -> None:
        """A whole answer that its exchange found good is in the cache, piece by piece as it came."""
        self.vouching()
        self.call.head(200, EVENT_STREAM)
        self.call.data(b"data: 1\n\n", b"data: [DONE]\n\n")
        self.call.complete()
        ((answer, until_ms),) = self.store.kept.values()
        self.assertEqual(answer.body, b"data: 1\n\ndata: [DONE]\n\n")
        self.assertEqual((answer.model, answer.usage, answer.log_id), ("gpt-4o", Usage(3, 4), "log-1"))
        self.assertEqual((answer.fresh_until_ms, until_ms), (NOW_MS + 300_000, NOW_MS + 300_000))

    def test_not_vouched(self) -> None:
        """An answer that ended as its framing promised, yet says that it failed, is not kept."""
        self.board(ALONE)
        self.call.answer(b'data: {"error":1}\n\n', 200, EVENT_STREAM)
        self.assertEqual(self.store.kept, {})

    def test_stored_once(self) -> None:
        """The first exchange that has read it all stores it; the others find that done."""
        self.vouching(SHARED, "log-1")
        second, _ = self.vouching(SHARED, "log-2")
        self.call.answer(b"hello", 200, TEXT)
        ((answer, _),) = self.store.kept.values()
        self.assertEqual(answer.log_id, "log-1")
        assert second.made is not None
        self.assertEqual(second.made.log_id, "log-1")

    def test_slow_owner_knows_the_usage(self) -> None:
        """One who pays and leaves before the end is told what the whole answer used, if somebody has read it."""
        first, _ = self.board()
        self.vouching(SHARED)
        first.pause()
        self.call.answer(b"hello", 200, TEXT)
        first.stop()
        assert first.made is not None
        self.assertEqual((first.owns, first.made.usage), (True, Usage(3, 4)))

    def test_too_large(self) -> None:
        """An answer beyond the bound passes, and is not kept."""
        _, got = self.vouching()
        self.call.head(200, TEXT)
        for _ in range(200):
            self.call.data(b"x")
        self.call.complete()
        self.assertEqual((len(got.body), self.store.kept), (200, {}))

    def test_never_recorded(self) -> None:
        """Of an answer that cannot be kept anyway, nothing is held."""
        self.vouching()
        self.call.head(200, ((b"content-type", b"video/mp4"),))
        self.call.data(b"one")
        self.assertEqual(self.memory.held_bytes, 0)
        self.call.complete()
        self.assertEqual(self.store.kept, {})
