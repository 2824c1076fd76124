"""
The invariant of the gateway, against every interleaving that Hypothesis can think of.

Every accepted request gets exactly one terminal message (or finds its socket closed) and exactly one record; the
record is safe before the message leaves; and whoever leaves stops its providers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConnectFailed, FirstByteTimeout, IdleTimeout, SpoolFull, TruncatedStream
from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import MemoryDataPort
from aigw.testing.socket import Link, SocketClient
from aigw.testing.upstream import EVENT_STREAM, JSON, ScriptedCall
from aigw.values.ids import id_text
from aigw.values.record import Begin, End
from tests.dispatch.parts import SteppedSink

PROVIDERS = ("openai", "groq", "mistral")
ENDPOINTS = {"mistral": "v1/chat/completions"}
LIMITS = SocketLimits(in_flight=6, waiting_bytes=1_500, ping_interval_s=1e6, ping_timeout_s=1e6)
FAILURES = (ConnectFailed, FirstByteTimeout, IdleTimeout, TruncatedStream)
# A whole stream, cut by the rules at any byte; the long event fills the buffer of a slow reader.
STREAM = b'data: {"choices":[]}\r\n\r\nevent: x\ndata: "%b"\n\ndata: {"usage":\ndata: {}}\n\ndata: [DONE]\n\n' % (
    b"x" * 900
)
BODY = b'{"choices":[{"message":{"content":"%b"}}]}' % (b"y" * 700)


class TrackedSink(SteppedSink):
    """A sink that knows which records have become safe."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.safe_begun: set[str] = set()
        self.safe_ended: set[str] = set()

    def begin(self, record: Begin, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        super().begin(record, _noting(self.safe_begun, record.origin.event_id, safe))

    def end(self, record: End, safe: Callable[[], None]) -> None:
        """See `ILogSink`."""
        super().end(record, _noting(self.safe_ended, record.origin.event_id, safe))


def _noting(noted: set[str], event_id: str, safe: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        noted.add(event_id)
        safe()

    return call


class Asked:
    """
    A request that was sent.

    Attributes:
        client: Whose it is.
        calls: Made for it, in order.
        streaming: Whether one of them has begun to stream to the client.
    """

    def __init__(self, link: Link, client: SocketClient) -> None:
        self.link = link
        self.client = client
        self.calls: list[ScriptedCall] = []
        self.streaming = False


class ExchangeMachine(RuleBasedStateMachine):
    """Clients, providers, and a log, each doing what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.sink = TrackedSink()
        self.port = MemoryDataPort(sockets=LIMITS, sink=self.sink, clock=Clock())
        self.asked: dict[str, Asked] = {}
        # By the identity of a call that has begun to answer: how much it has sent, and of what.
        self.sent: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.seen_calls = 0
        self.link, self.client = self.port.connect()

    # The client -----------------------------------------------------------------------------------------------------

    def send(self, request: Any, type_: str = "universal.create") -> None:
        """Send a request under a new event id."""
        event_id = f"e{len(self.asked)}"
        self.asked[event_id] = Asked(self.link, self.client)
        steps = [dict(step, query={"model": "m", "id": event_id}) for step in request]
        steps[0]["eventId"] = event_id
        self.client.send({"type": type_, "request": steps})
        self.link.settle()

    @precondition(lambda self: self.client.is_connected)
    @rule(count=st.integers(1, 3), safe=st.booleans(), bad=st.sampled_from([None] * 5 + ["provider", "step", "type"]))
    def ask(self, count: int, safe: bool, bad: str | None) -> None:
        """A request of one to three steps; now and then one that is refused."""
        steps = [{"provider": p, "endpoint": ENDPOINTS.get(p, "chat/completions")} for p in PROVIDERS[:count]]
        if bad == "provider":
            steps[-1]["provider"] = "opnai"
        elif bad == "step":
            del steps[-1]["endpoint"]
        self.send(steps, "universal.crate" if bad == "type" else "universal.create")
        if safe:
            self.flush()

    @rule(reading=st.booleans())
    def read(self, reading: bool) -> None:
        """The client stops reading, or goes on."""
        self.link.client_pipe.reading = reading
        self.link.settle()

    def leave(self, how: str) -> None:
        """The client leaves, one way or the other, and comes back on another connection."""
        if how == "vanish":
            self.link.vanish()
        elif how == "goodbye":
            self.client.sendClose(1000)
        else:
            self.link.client_pipe.write(b"\xff\xff")
        self.link.settle()
        if self.link.server_pipe.reading:
            self.assert_stopped(self.link)
        self.link.client_pipe.reading = True
        self.link.vanish()
        self.assert_stopped(self.link)
        self.link, self.client = self.port.connect()

    # The providers --------------------------------------------------------------------------------------------------

    def calls(self, answering: bool) -> list[ScriptedCall]:
        """The calls that run and have begun to answer, or have not."""
        return [call for call in self.port.upstream.running if (id(call) in self.sent) is answering]

    @precondition(lambda self: self.calls(False))
    @rule(index=st.integers(0, 9), status=st.sampled_from([200, 200, 201, 302, 429, 500]), streaming=st.booleans())
    def head(self, index: int, status: int, streaming: bool) -> None:
        """A provider begins to answer."""
        calls = self.calls(False)
        call = calls[index % len(calls)]
        self.sent[id(call)] = 0
        self.bodies[id(call)] = STREAM if streaming else BODY
        call.head(status, EVENT_STREAM if streaming else JSON)
        self.link.settle()

    @precondition(lambda self: self.calls(True))
    @rule(index=st.integers(0, 9), count=st.integers(1, 1_200))
    def data(self, index: int, count: int) -> None:
        """A provider sends some bytes of its answer."""
        calls = self.calls(True)
        call = calls[index % len(calls)]
        at = self.sent[id(call)]
        call.data(self.bodies[id(call)][at : at + count])
        self.sent[id(call)] = at + count
        self.link.settle()

    @precondition(lambda self: self.calls(True))
    @rule(index=st.integers(0, 9), whole=st.booleans())
    def complete(self, index: int, whole: bool) -> None:
        """A provider's body ends, wherever it is or as a whole."""
        calls = self.calls(True)
        call = calls[index % len(calls)]
        if whole:
            call.data(self.bodies[id(call)][self.sent[id(call)] :])
        call.complete()
        self.link.settle()

    @precondition(lambda self: self.port.upstream.running)
    @rule(index=st.integers(0, 9), failure=st.sampled_from(FAILURES))
    def fail(self, index: int, failure: Any) -> None:
        """A provider fails, at any moment."""
        calls = self.port.upstream.running
        calls[index % len(calls)].fail(failure())
        self.link.settle()

    # The gateway ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sink.waiting)
    @rule(index=st.integers(0, 9))
    def make_safe(self, index: int) -> None:
        """The log makes a record safe, in any order."""
        self.sink.step(index % self.sink.waiting)
        self.link.settle()

    @precondition(lambda self: self.sink.waiting)
    @rule()
    def flush(self) -> None:
        """The log makes everything safe."""
        self.sink.flush()
        self.link.settle()

    @rule(kind=st.sampled_from(["vanish", "goodbye", "nonsense", "full spool", "draining", "drained"]))
    def trouble(self, kind: str) -> None:
        """Somebody leaves, or the gateway is full, or about to stop; or it is well again."""
        if kind == "full spool":
            self.sink.accepting = not self.sink.accepting
        elif kind == "draining":
            self.port.dispatcher.draining = not self.port.dispatcher.draining
        elif kind == "drained":
            self.port.dispatcher.abandon_all()
            self.link.settle()
            assert not self.port.upstream.running
        else:
            self.leave(kind)

    # What always holds ----------------------------------------------------------------------------------------------

    @invariant()
    def providers_are_asked_in_order(self) -> None:
        """After the BEGIN is safe, one at a time, and no more once something has reached the client."""
        for call in self.port.upstream.calls[self.seen_calls :]:
            event_id = json.loads(call.request.body)["id"]
            asked = self.asked[event_id]
            assert event_id in self.sink.safe_begun
            assert all(earlier.over for earlier in asked.calls)
            assert not asked.streaming, "another step after the client had seen a part of the answer"
            assert not asked.client.about(event_id)
            asked.calls.append(call)
        self.seen_calls = len(self.port.upstream.calls)
        for asked in self.asked.values():
            asked.streaming = asked.streaming or any(_streams(m) for m in self.about(asked))

    @invariant()
    def endings_are_single_and_safe(self) -> None:
        """One terminal message at most, nothing behind it, and never before its record is safe."""
        for event_id, asked in self.asked.items():
            messages = asked.client.about(event_id)
            terminal = [index for index, message in enumerate(messages) if _is_terminal(message)]
            assert terminal in ([], [len(messages) - 1]), messages
            if terminal and not _is_refused_by_spool(messages[-1]):
                assert event_id in self.sink.safe_ended, "a final frame before its record"

    @invariant()
    def records_are_single(self) -> None:
        """One BEGIN and one END at most for each exchange, in that order; only who asked nobody has no BEGIN."""
        begun = [id_text(record.origin.id) for record in self.sink.begun]
        ended = [id_text(record.origin.id) for record in self.sink.ended]
        assert len(set(begun)) == len(begun)
        assert len(set(ended)) == len(ended)
        alone = {id_text(log_id) for log_id in self.sink.alone_ids}
        assert set(ended) <= set(begun) | alone
        assert not set(begun) & alone

    def about(self, asked: Asked) -> list[dict[str, Any]]:
        """What the client of a request has heard of it."""
        return next(asked.client.about(event_id) for event_id, other in self.asked.items() if other is asked)

    def assert_stopped(self, link: Link) -> None:
        """No provider works for a client that has left."""
        for asked in self.asked.values():
            if asked.link is link:
                assert all(call.over for call in asked.calls)

    def teardown(self) -> None:
        """Let everything come to its end, and count."""
        self.sink.accepting = True
        self.link.client_pipe.reading = True
        for _ in range(4):
            self.sink.flush()
            self.link.settle()
            self.providers_are_asked_in_order()
            for call in self.port.upstream.running:
                call.fail(ConnectFailed())
        self.sink.flush()
        self.link.settle()
        self.endings_are_single_and_safe()
        self.records_are_single()
        assert self.port.dispatcher.in_flight == 0
        # What a client wrote that left before we read it was never accepted.
        assert self.port.meter.opened_count == len(self.port.meter.records) <= len(self.asked)
        rows = [record.origin.event_id for record in self.sink.ended]
        for event_id, asked in self.asked.items():
            messages = asked.client.about(event_id)
            if asked.client is self.client and self.client.is_connected:
                assert messages and _is_terminal(messages[-1]), (event_id, messages)
            refused = bool(messages) and _is_refused_by_spool(messages[-1])
            assert rows.count(event_id) <= 1
            if not refused and asked.client is self.client:
                assert rows.count(event_id) == 1
            if asked.calls:
                assert rows.count(event_id) == 1


def _is_terminal(message: dict[str, Any]) -> bool:
    return message["type"] == "universal.done" or ("response" in message and message["type"] == "universal.created")


def _streams(message: dict[str, Any]) -> bool:
    return message["type"] == "universal.created" and "response" not in message


def _is_refused_by_spool(message: dict[str, Any]) -> bool:
    response = message.get("response")
    return isinstance(response, dict) and response.get("internalCode") == SpoolFull.code


class ExchangeMachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_one_ending_one_record(self) -> None:
        """In every order of events, disconnects and failures, each request ends once and leaves one row."""
        run_state_machine_as_test(
            ExchangeMachine, settings=settings(max_examples=80, stateful_step_count=40, deadline=None)
        )
