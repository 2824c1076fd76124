"""Realtime sessions between a client and a provider that are both played, with a stepped sink."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import ANONYMOUS
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.opening import Opening
from aigw.dispatch.parts import Parts
from aigw.dispatch.session import Refusal, SessionExchange
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import ClientGone, ConnectFailed, Drained, GatewayError, IdleTimeout, TooManyConnections
from aigw.providers.table import ProviderTable
from aigw.serving.wheel import Wheel
from aigw.testing.controls import memory_controls
from aigw.testing.data_port import START_MS, CountingMeter, flat_price
from aigw.testing.realtime_upstream import PlayedSocket, PlayedSockets
from aigw.testing.upstream import ScriptedUpstream
from aigw.values.gateway import Gateway
from aigw.values.ids import LogIds
from aigw.values.record import End
from aigw.values.step import Step
from tests.dispatch.parts import SteppedSink

DONE = b'{"type":"response.done","response":{"usage":{"input_tokens":3,"output_tokens":2}}}'


class PlayedClient:
    """A `SessionClient` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.messages: list[tuple[bytes, bool]] = []
        self.closed_with: tuple[int | None, str] | None = None
        self.refused_with: tuple[GatewayError, Refusal | None] | None = None
        self.full = False

    def accept(self, subprotocol: str | None) -> GatewayError | None:
        if self.full:
            return TooManyConnections()
        self.told.append("accept")
        return None

    def refuse(self, error: GatewayError, refusal: Refusal | None) -> None:
        self.told.append("refuse")
        self.refused_with = error, refusal

    def send(self, payload: bytes, binary: bool) -> None:
        self.messages.append((payload, binary))

    def hold(self) -> None:
        self.told.append("hold")

    def release(self) -> None:
        self.told.append("release")

    def close(self, code: int | None, reason: str) -> None:
        self.told.append("close")
        self.closed_with = code, reason


class Bench:
    """A dispatcher between played sockets and a stepped sink, and one session."""

    def __init__(self) -> None:
        clock = Clock()
        self.upstream = PlayedSockets()
        self.sink = SteppedSink(clock)
        self.meter = CountingMeter()
        self.controls = memory_controls(clock, lambda: START_MS)
        parts = Parts(
            *(ScriptedUpstream(), self.sink, flat_price, clock.seconds, self.meter),
            *(DispatchSettings(), self.controls, Wheel(clock).schedule, partial(clock.callLater, 0)),
            self.upstream,
        )
        self.dispatcher = Dispatcher(parts, ProviderTable(), LogIds(lambda: START_MS))
        self.client = PlayedClient()
        self.session = self.open()

    def open(self, provider: str = "openai", endpoint: str = "?model=gpt-realtime") -> SessionExchange:
        """Hand an upgrade in."""
        opening = Opening(
            gateway=Gateway(id="default", authentication=False),
            caller=ANONYMOUS,
            user_agent="",
            request_type="realtime",
            event_id="",
            steps=(Step(provider, endpoint, ((b"authorization", b"Bearer sk-fake"),), b"", {}, b"GET"),),
        )
        return self.dispatcher.open_session(opening, [], self.client)

    @property
    def socket(self) -> PlayedSocket:
        """The provider's."""
        (socket,) = self.upstream.sockets
        return socket

    def flush(self) -> None:
        """Make every record safe that waits."""
        for _ in range(3):
            self.sink.flush()

    @property
    def record(self) -> End:
        """The one record."""
        (record,) = self.sink.ended
        return record


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.client = self.bench.client

    def opened(self) -> PlayedSocket:
        self.bench.flush()
        self.bench.socket.accept()
        return self.bench.socket

    def test_begin_is_safe_before_the_provider_is_asked(self) -> None:
        """Whatever a provider may have seen leaves a row, also after a crash."""
        self.assertEqual(self.bench.upstream.sockets, [])
        self.bench.flush()
        self.assertEqual(len(self.bench.upstream.sockets), 1)
        self.assertEqual(self.client.told, [])

    def test_client_leaves_before_the_begin_is_safe(self) -> None:
        """A provider is not asked for a client that is gone."""
        self.bench.session.client_left(False)
        self.bench.flush()
        self.assertEqual(self.bench.upstream.sockets, [])
        self.assertEqual(self.bench.record.error_code, ClientGone.code)

    def test_end_is_safe_before_the_client_hears_of_it(self) -> None:
        """Who has seen the end of a session finds it in the log."""
        self.opened().leave(1000, "bye")
        self.assertEqual(self.client.told, ["accept"])
        self.bench.flush()
        self.assertEqual((self.client.told, self.client.closed_with), (["accept", "close"], (1000, "bye")))

    def test_refusal_waits_for_its_record(self) -> None:
        """So does who was refused."""
        self.bench.flush()
        self.bench.socket.refuse(401, (), b"{}")
        self.assertEqual(self.client.told, [])
        self.bench.flush()
        self.assertEqual(self.client.told, ["refuse"])

    def test_no_room_for_the_client(self) -> None:
        """A client that cannot be upgraded any more is refused, and its provider left."""
        self.client.full = True
        socket = self.opened()
        self.bench.flush()
        self.assertEqual((self.client.told, socket.over), (["refuse"], True))
        self.assertEqual((self.bench.record.status, self.bench.record.error_code), (503, 4007))

    def test_slow_ends(self) -> None:
        """Each side is held up by the other, and by nobody else."""
        socket = self.opened()
        socket.slow()
        socket.caught_up()
        self.assertEqual(self.client.told, ["accept", "hold", "release"])
        self.bench.session.client_slow()
        self.assertTrue(socket.paused)
        self.bench.session.client_caught_up()
        self.assertFalse(socket.paused)

    def test_a_defect_in_a_reader(self) -> None:
        """A session goes on though it cannot be read any more."""
        socket = self.opened()

        class Broken:
            model = ""
            audio_in_ms = audio_out_ms = None

            def provider(self, payload: bytes, binary: bool) -> None:
                raise ValueError("a defect")

        reader: Any = Broken()
        self.bench.session._reader = reader
        socket.say(b"one")
        socket.say(DONE)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual([payload for payload, _ in self.client.messages], [b"one", DONE])
        socket.leave()
        self.assertEqual(self.bench.record.session.turns if self.bench.record.session else None, 0)

    def test_lines_are_json(self) -> None:
        """Whatever passed, each line of the log is a document of its own."""
        socket = self.opened()
        for payload, binary in ((b'a "quote"\n', False), (b"\xff\x00", True), ("\u2028\U0001f600".encode(), False)):
            socket.say(payload, binary)
        socket.leave(4000, 'why "so"\n')
        lines = (self.bench.record.response_body or b"").splitlines()
        self.assertEqual(
            [sorted(json.loads(line)) for line in lines][1:],
            [
                ["from", "t_ms", "text"],
                ["base64", "from", "t_ms"],
                ["from", "t_ms", "text"],
            ],
        )
        self.assertEqual(json.loads(lines[0])["reason"], 'why "so"\n')


class SessionMachine(RuleBasedStateMachine):
    """Everything that client, provider, disk and operator may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()

    def provider(self, act: Callable[[PlayedSocket], None]) -> None:
        for socket in self.bench.upstream.sockets:
            act(socket)

    @initialize(turns=st.integers(0, 3))
    def begin(self, turns: int) -> None:
        """Most sessions are open by the time that something goes wrong."""
        if turns:
            self.bench.flush()
            self.accepts()
        for _ in range(turns - 1):
            self.provider(lambda socket: socket.say(DONE))

    @rule()
    def disk(self) -> None:
        self.bench.sink.flush()

    @rule()
    def accepts(self) -> None:
        self.provider(lambda socket: socket.accept())

    @rule(status=st.sampled_from([301, 401, 500]))
    def refuses(self, status: int) -> None:
        self.provider(lambda socket: socket.refuse(status))

    @rule(payload=st.sampled_from([b"x", DONE, b"\xff", b"{}"]), binary=st.booleans())
    def provider_says(self, payload: bytes, binary: bool) -> None:
        self.provider(lambda socket: socket.say(payload, binary))

    @rule(code=st.sampled_from([None, 1000, 1011, 4000]))
    def provider_leaves(self, code: int | None) -> None:
        self.provider(lambda socket: socket.leave(code))

    @rule(error=st.sampled_from([ConnectFailed, IdleTimeout]))
    def provider_fails(self, error: type[GatewayError]) -> None:
        self.provider(lambda socket: socket.fail(error()))

    @rule(payload=st.sampled_from([b"x", b"\xff", b"{}"]), binary=st.booleans())
    def client_says(self, payload: bytes, binary: bool) -> None:
        self.bench.session.from_client(payload, binary)

    @rule(closed=st.booleans())
    def client_leaves(self, closed: bool) -> None:
        self.bench.session.client_left(closed, 1000 if closed else None)

    @rule()
    def drained(self) -> None:
        self.bench.session.abandon(Drained())

    @invariant()
    def one_ending(self) -> None:
        told = self.bench.client.told
        assert told.count("accept") <= 1 and told.count("close") + told.count("refuse") <= 1
        assert len(self.bench.sink.ended) <= 1
        assert "close" not in told or "accept" in told
        if {"close", "refuse"} & set(told):
            assert len(self.bench.sink.ended) == 1

    @invariant()
    def nobody_is_left_behind(self) -> None:
        if self.bench.sink.ended:
            assert all(socket.over for socket in self.bench.upstream.sockets)

    def teardown(self) -> None:
        self.bench.session.abandon(Drained())
        self.bench.flush()
        told = self.bench.client.told
        assert told.count("close") + told.count("refuse") == 1, told
        assert self.bench.meter.records == self.bench.sink.ended == [self.bench.record]
        assert self.bench.dispatcher.in_flight == 0


class MachineTests(SynchronousTestCase):
    def test_any_interleaving(self) -> None:
        """Every session has one ending and one record, in whatever order things happen, and leaves no provider."""
        run_state_machine_as_test(  # type: ignore[no-untyped-call]  # untyped in hypothesis
            SessionMachine, settings=settings(max_examples=150, stateful_step_count=25, deadline=None)
        )
