"""The clocks, pauses and ends of a call, with time that the test moves."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConnectTimeout, FirstByteTimeout, IdleTimeout, TotalTimeout, TruncatedStream
from aigw.upstream.settings import UpstreamSettings
from aigw.values.step import Clocks
from tests.upstream.memory import MemoryUpstream

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOCKS = Clocks(connect_s=2, first_byte_s=10, idle_s=5, total_s=60)
OFF = Clocks(connect_s=0, first_byte_s=0, idle_s=0, total_s=0)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class ClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.clock = self.upstream.clock

    def tearDown(self) -> None:
        for wire in self.upstream.wires:
            wire.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connect(self) -> None:
        """A provider that takes no connection is given up after `connect_s`, and a late connection is not used."""
        self.upstream.endpoint.held = True
        _, got = self.upstream.send(CLOCKS)
        self.clock.advance(1.9)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.3)
        self.assertIsInstance(got.error, ConnectTimeout)
        self.assertEqual(self.upstream.agent.connections, 0)

    def test_connect_is_not_paused(self) -> None:
        """Our own pause is no excuse for a provider that takes no connection."""
        self.upstream.endpoint.held = True
        call, got = self.upstream.send(CLOCKS)
        call.pause()
        self.clock.advance(2.2)
        self.assertIsInstance(got.error, ConnectTimeout)

    def test_first_byte(self) -> None:
        """A provider that takes the request and is silent is given up after `first_byte_s`; the connection closes."""
        _, got = self.upstream.send(CLOCKS)
        self.clock.advance(9.9)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.3)
        self.assertIsInstance(got.error, FirstByteTimeout)
        self.assertTrue(self.upstream.wires[0].lost)

    def test_half_a_head_is_no_first_byte(self) -> None:
        """A head that drips in does not win time."""
        _, got = self.upstream.send(CLOCKS)
        for at in range(10):
            self.upstream.wires[0].give(HEAD[at : at + 1])
            self.clock.advance(1)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.2)
        self.assertIsInstance(got.error, FirstByteTimeout)

    def test_idle(self) -> None:
        """A stream may take long, but a silence of `idle_s` ends it."""
        _, got = self.upstream.send(CLOCKS)
        wire = self.upstream.wires[0]
        wire.give(HEAD)
        for _ in range(10):
            self.clock.advance(4.8)
            wire.give(chunk(b"x"))
        self.assertEqual(got.body, b"x" * 10)
        self.clock.advance(5.2)
        self.assertIsInstance(got.error, IdleTimeout)
        self.assertTrue(wire.lost)

    def test_total(self) -> None:
        """A stream that never ends is ended after `total_s`, paused or not."""
        for pause in (False, True):
            call, got = self.upstream.send(CLOCKS)
            wire = self.upstream.wires[-1]
            wire.give(HEAD)
            if pause:
                call.pause()
            for _ in range(61):
                self.clock.advance(1)
                if not wire.lost and not pause:
                    wire.give(chunk(b"x"))
            self.assertIsInstance(got.error, TotalTimeout)
            self.assertTrue(wire.lost)

    def test_off(self) -> None:
        """A clock of 0 never strikes."""
        _, got = self.upstream.send(OFF)
        self.clock.advance(100_000)
        self.upstream.wires[0].give(HEAD)
        self.clock.advance(100_000)
        self.assertEqual(got.heard, ["head"])
        self.assertEqual(len(self.upstream.wheel), 0)
        self.upstream.wires[0].give(chunk(b"x") + b"0\r\n\r\n")
        self.assertEqual(got.heard, ["head", "data", "completed"])

    def test_pause_stops_first_byte_clock(self) -> None:
        """While we keep the provider waiting, its time for the first byte does not run; then it goes on."""
        call, got = self.upstream.send(CLOCKS)
        self.clock.advance(6)
        call.pause()
        call.pause()
        self.clock.advance(30)
        call.resume()
        call.resume()
        self.clock.advance(3.8)
        self.assertEqual(got.heard, [])
        self.clock.advance(0.4)
        self.assertIsInstance(got.error, FirstByteTimeout)

    def test_pause_stops_idle_clock(self) -> None:
        """While we pause a stream, its silence is our doing; after that the clock goes on where it stood."""
        call, got = self.upstream.send(CLOCKS)
        self.upstream.wires[0].give(HEAD)
        self.clock.advance(3)
        call.pause()
        self.clock.advance(40)
        call.resume()
        self.clock.advance(1.8)
        self.assertEqual(got.heard, ["head"])
        self.clock.advance(0.4)
        self.assertIsInstance(got.error, IdleTimeout)

    def test_connected_while_paused(self) -> None:
        """A pause from before the connection holds the first-byte clock until `resume`."""
        self.upstream.endpoint.held = True
        call, got = self.upstream.send(CLOCKS)
        call.pause()
        self.upstream.endpoint.let()
        self.clock.advance(50)
        self.assertEqual(got.heard, [])
        call.resume()
        self.upstream.wires[0].give(HEAD)
        self.assertEqual(got.heard, ["head"])
        call.stop()

    def test_clocks_end_with_the_call(self) -> None:
        """A call that is over leaves no clock behind."""
        _, got = self.upstream.send(CLOCKS)
        self.upstream.wires[0].give(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(got.heard, ["head", "completed"])
        self.clock.advance(45)
        self.assertEqual(len(self.upstream.wheel), 1)
        self.clock.advance(100)
        self.assertEqual((got.heard, len(self.upstream.wheel)), (["head", "completed"], 0))


class PauseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = MemoryUpstream()

    def test_paused_hears_nothing(self) -> None:
        """A paused call is told nothing, not even what was read already; all of it comes later, in order."""
        call, got = self.upstream.send()
        wire = self.upstream.wires[0]
        got.react = lambda name: call.pause() if name == "data" else None
        wire.give(HEAD + chunk(b"1"))
        wire.give(chunk(b"2"))
        wire.give(chunk(b"3") + b"0\r\n\r\n")
        self.assertEqual((got.body, wire.producerState), (b"1", "producing"))
        call.resume()
        self.assertEqual(got.body, b"12")
        call.resume()
        self.assertEqual((got.body, got.heard[-1]), (b"123", "data"))
        call.resume()
        self.assertEqual(got.heard, ["head", "data", "data", "data", "completed"])

    def test_pause_stops_reading(self) -> None:
        """A pause reaches the socket, so the provider is slowed down, not the memory filled."""
        call, _ = self.upstream.send()
        wire = self.upstream.wires[0]
        wire.give(HEAD)
        for _ in range(3):
            call.pause()
        self.assertEqual(wire.producerState, "paused")
        for _ in range(3):
            call.resume()
        self.assertEqual(wire.producerState, "producing")

    def test_pause_before_the_head(self) -> None:
        """An answer that begins while we pause waits, and the socket with it once its body comes."""
        call, got = self.upstream.send()
        call.pause()
        wire = self.upstream.wires[0]
        wire.give(HEAD + chunk(b"1"))
        self.assertEqual((got.heard, wire.producerState), ([], "paused"))
        call.resume()
        self.assertEqual((got.heard, got.body, wire.producerState), (["head", "data"], b"1", "producing"))

    def test_pause_in_the_head(self) -> None:
        """A receiver that pauses from within `head` gets the body when it resumes."""
        call, got = self.upstream.send()
        got.react = lambda name: call.pause() if name == "head" else None
        wire = self.upstream.wires[0]
        wire.give(HEAD + chunk(b"1"))
        self.assertEqual((got.heard, wire.producerState), (["head"], "paused"))
        call.resume()
        self.assertEqual((got.heard, wire.producerState), (["head", "data"], "producing"))

    def test_pause_and_resume_in_one_call(self) -> None:
        """A receiver that changes its mind at once misses nothing."""

        def waver(name: str) -> None:
            call.pause()
            call.resume()

        call, got = self.upstream.send()
        got.react = waver
        self.upstream.wires[0].give(HEAD + chunk(b"1") + chunk(b"2") + b"0\r\n\r\n")
        self.assertEqual((got.heard, got.body), (["head", "data", "completed"], b"12"))

    def test_connection_of_a_paused_answer_is_free(self) -> None:
        """An answer that was read to its end while paused does not keep its connection, nor leave it paused."""
        call, first = self.upstream.send()
        first.react = lambda name: call.pause()
        wire = self.upstream.wires[0]
        wire.give(HEAD + chunk(b"1") + b"0\r\n\r\n")
        _, second = self.upstream.send()
        wire.give(HEAD + chunk(b"2") + b"0\r\n\r\n")
        self.assertEqual((second.body, len(self.upstream.wires)), (b"2", 1))
        first.react = lambda name: None
        call.resume()
        self.assertEqual((first.body, first.heard[-1]), (b"1", "completed"))

    def test_cut_while_paused(self) -> None:
        """A stream that is cut while we pause tells what it had before it tells that it was cut."""
        call, got = self.upstream.send()
        wire = self.upstream.wires[0]
        wire.give(HEAD)
        call.pause()
        wire.give(chunk(b"1"))
        wire.drop(ConnectionLost())
        self.assertEqual(got.heard, ["head"])
        call.resume()
        self.assertEqual((got.body, got.ending), (b"1", "TruncatedStream"))


class StopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = MemoryUpstream(UpstreamSettings(connections_per_host=1))

    def test_while_connecting(self) -> None:
        """A client that leaves before the connection is made leaves no connection behind."""
        self.upstream.endpoint.held = True
        call, got = self.upstream.send()
        call.stop()
        call.stop()
        self.assertEqual((got.heard, self.upstream.agent.connections), ([], 0))

    def test_while_waiting_for_a_connection(self) -> None:
        """A request that waited in the queue and was given up is never sent."""
        self.upstream.send()
        call, got = self.upstream.send()
        call.stop()
        self.upstream.wires[0].give(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((got.heard, self.upstream.wires[0].value().count(b"POST")), ([], 1))

    def test_while_waiting_for_the_head(self) -> None:
        """The connection closes at once, though the provider is still thinking."""
        call, got = self.upstream.send()
        call.stop()
        self.assertEqual((got.heard, self.upstream.wires[0].lost), ([], True))

    def test_in_each_receiver_callback(self) -> None:
        """A receiver that stops from within hears nothing more, whatever was read together with it."""
        for moment in ("head", "data"):
            call, got = self.upstream.send()
            got.react = lambda name, call=call, moment=moment: call.stop() if name == moment else None
            wire = self.upstream.wires[-1]
            wire.give(HEAD + chunk(b"1") + chunk(b"2") + b"0\r\n\r\n")
            self.assertEqual((got.heard[-1], wire.lost), (moment, True))

    def test_with_an_answer_in_hand(self) -> None:
        """A stop while paused closes the connection, and what was held is dropped."""
        call, got = self.upstream.send()
        call.pause()
        self.upstream.wires[0].give(HEAD + chunk(b"1"))
        call.stop()
        call.resume()
        self.assertEqual((got.heard, self.upstream.wires[0].lost), ([], True))

    def test_after_the_end(self) -> None:
        """Whatever is asked of a call that is over does nothing, and its connection serves on."""
        call, got = self.upstream.send()
        self.upstream.wires[0].give(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        call.pause()
        call.resume()
        call.stop()
        self.assertEqual((got.heard, self.upstream.wires[0].lost), (["head", "completed"], False))

    def test_a_receiver_that_fails(self) -> None:
        """A defect in a receiver ends its own call with an error, closes the connection, and is logged."""
        for moment in ("head", "data"):

            def fail(name: str, moment: str = moment) -> None:
                if name == moment:
                    raise ZeroDivisionError

            _, got = self.upstream.send()
            got.react = fail
            wire = self.upstream.wires[-1]
            wire.give(HEAD + chunk(b"1") + b"0\r\n\r\n")
            self.assertEqual((got.ending, wire.lost), ("InternalError", True))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = MemoryUpstream()

    def test_cut_short(self) -> None:
        """A body that ends before its framing says so is an error, never a short success."""
        for data in (HEAD, HEAD + chunk(b"1"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"):
            _, got = self.upstream.send()
            self.upstream.wires[-1].give(data)
            self.upstream.wires[-1].drop()
            self.assertIsInstance(got.error, TruncatedStream)

    def test_until_close(self) -> None:
        """A body without length ends with the connection; but one that was reset is not known to be whole."""
        for reason, ending in ((None, "completed"), (ConnectionLost(), "TruncatedStream")):
            _, got = self.upstream.send()
            self.upstream.wires[-1].give(b"HTTP/1.1 200 OK\r\n\r\n12")
            self.upstream.wires[-1].drop(reason)
            self.assertEqual((got.body, got.ending), (b"12", ending))

    def test_garbage_in_the_middle(self) -> None:
        """Bytes that break the framing end the answer after what was good, and the connection with it."""
        _, got = self.upstream.send()
        wire = self.upstream.wires[0]
        wire.give(HEAD + chunk(b"1") + b"what?")
        self.assertEqual((got.body, got.ending, wire.lost), (b"1", "InvalidAnswer", True))

    def test_no_cookie_is_kept(self) -> None:
        """What a provider sets for one tenant is never sent with another's request."""
        self.upstream.send()
        wire = self.upstream.wires[0]
        wire.give(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=one\r\nContent-Length: 0\r\n\r\n")
        wire.clear()
        self.upstream.send()
        self.assertNotIn(b"cookie", wire.value().lower())

    def test_no_redirect_is_followed(self) -> None:
        """A redirect is the answer; nobody sends a key after it."""
        _, got = self.upstream.send()
        wire = self.upstream.wires[0]
        wire.give(b"HTTP/1.1 307 Go\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((got.status, got.heard), (307, ["head", "completed"]))
        self.assertEqual([place.host for place in self.upstream.reach.places], ["p.test"])


class CallMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, a receiver hears one head at most, its data in order, and one end."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream = MemoryUpstream()
        self.upstream.endpoint.held = True
        self.call, self.got = self.upstream.send(Clocks(connect_s=5, first_byte_s=5, idle_s=5, total_s=50))
        self.sent = b""
        self.begun = self.stopped = self.paused = False
        self.frozen: list[str] | None = None

    @property
    def wire(self) -> Any:
        return self.upstream.wires[0] if self.upstream.wires else None

    def alive(self) -> bool:
        return self.wire is not None and not self.wire.lost and self.wire.producerState == "producing"

    @precondition(lambda self: self.upstream.endpoint.attempts and not self.upstream.endpoint.attempts[0][0].called)
    @rule()
    def connect(self) -> None:
        self.upstream.endpoint.let()

    @precondition(lambda self: self.alive() and not self.begun)
    @rule()
    def head(self) -> None:
        self.begun = True
        self.wire.give(HEAD)

    @precondition(lambda self: self.alive() and self.begun)
    @rule(data=st.binary(min_size=1, max_size=5))
    def data(self, data: bytes) -> None:
        self.sent += data
        self.wire.give(chunk(data))

    @precondition(lambda self: self.alive() and self.begun)
    @rule()
    def end(self) -> None:
        self.wire.give(b"0\r\n\r\n")
        if not self.wire.lost:
            self.wire.drop()

    @precondition(lambda self: self.wire is not None)
    @rule()
    def drop(self) -> None:
        self.wire.drop()

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.upstream.clock.advance(seconds)

    @rule()
    def pause(self) -> None:
        self.call.pause()
        self.paused = True

    @rule()
    def resume(self) -> None:
        self.paused = False
        self.frozen = None
        self.call.resume()

    @rule()
    def stop(self) -> None:
        self.call.stop()
        self.stopped = True

    @invariant()
    def heard(self) -> None:
        heard = self.got.heard
        ends = [name for name in heard if name in ("completed", "failed")]
        assert len(ends) <= 1
        assert not ends or heard[-1] == ends[0]
        assert "head" not in heard[1:]
        assert self.sent.startswith(self.got.body)
        if self.paused or self.stopped:
            fixed = [name for name in heard if name != "failed"]
            assert self.frozen is None or self.frozen == fixed
            self.frozen = fixed
        if "completed" in heard:
            assert self.got.body == self.sent

    def teardown(self) -> None:
        self.call.resume()
        self.upstream.clock.pump([1] * 60)
        assert self.stopped or self.got.heard[-1] in ("completed", "failed")
        assert self.wire is None or self.wire.lost
        assert len(self.upstream.wheel) == 0


CallMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


class CallMachineTests(SynchronousTestCase):
    def test_any_order(self) -> None:
        """Whatever happens in whatever order, there is one end, no connection and no clock left."""
        case = CallMachine.TestCase()
        case.runTest()
