"""
A shared call, against every interleaving that Hypothesis can think of.

Whoever sits in it hears a beginning of the same bytes, and exactly one end; the provider is stopped if, and only if,
nobody is left; it is paused only while nobody reads; one seat owns the cost; and what is held stays within its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.cache import CachePlan
from aigw.dispatch.flight import Memory
from aigw.dispatch.flights import Flights
from aigw.dispatch.seat import CHUNK_BYTES, Seat
from aigw.errors import FellBehind, TruncatedStream
from aigw.testing.upstream import ScriptedCall, ScriptedUpstream
from tests.dispatch.flying import ALONE, REQUEST, SHARED, DictStore, cache
from tests.upstream.receiver import Recorder

TEXT = ((b"content-type", b"text/plain"),)
FLIGHT_BYTES = 8 * CHUNK_BYTES
CHUNK = 100


class Passenger:
    """
    One exchange.

    Args:
        machine: Where it sits down.
        plan: Of its step.
        pauses_at: Pauses within the piece of this number; 0 never.
        leaves_at: Leaves within it; 0 never.
    """

    def __init__(self, machine: FlightMachine, plan: CachePlan, pauses_at: int, leaves_at: int) -> None:
        self.got = Recorder()
        self.got.react = self.react
        self.pauses_at = pauses_at
        self.leaves_at = leaves_at
        self.paused = False
        self.left = False
        self.seat: Seat = machine.flights.board(plan, lambda to: machine.upstream.send(REQUEST, to), self.got)
        self.call: ScriptedCall = machine.upstream.last if not self.seat.guest else machine.shared
        if plan is SHARED:
            machine.shared = self.call
        self.seat.begin()

    def react(self, name: str) -> None:
        """What the exchange does within what it is told."""
        told = self.got.heard.count("data")
        if name == "data" and told == self.pauses_at:
            self.pause()
        if name == "data" and told == self.leaves_at:
            self.leave()
        if name == "completed":
            self.seat.vouch("", None, "")

    def pause(self) -> None:
        self.paused = True
        self.seat.pause()

    def resume(self) -> None:
        self.paused = False
        self.seat.resume()

    def leave(self) -> None:
        self.left = not self.ends
        self.seat.stop()

    @property
    def ends(self) -> list[str]:
        """Its endings so far."""
        return [name for name in self.got.heard if name in ("completed", "failed")]

    @property
    def sits(self) -> bool:
        """Whether it still waits for something."""
        return not self.left and not self.ends


class FlightMachine(RuleBasedStateMachine):
    """Callers who come, pause, resume and leave, and a provider."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream = ScriptedUpstream()
        self.memory = Memory(flight_bytes=FLIGHT_BYTES, total_bytes=4 * FLIGHT_BYTES, turn_chunks=2)
        self.store = DictStore()
        self.turns: list[Callable[[], None]] = []
        self.flights = Flights(cache(self.store), self.turns.append, self.memory)
        self.passengers: list[Passenger] = []
        # Of the latest shared flight.
        self.shared: Any = None
        # What each call's provider has told.
        self.told: dict[ScriptedCall, bytes] = {}
        self.headed: set[ScriptedCall] = set()
        self.number = 0

    def passenger(self, pick: int) -> Passenger:
        return self.passengers[pick % len(self.passengers)]

    def running(self, pick: int) -> ScriptedCall:
        return self.upstream.running[pick % len(self.upstream.running)]

    some = precondition(lambda self: self.passengers)
    flying = precondition(lambda self: self.upstream.running)
    number_ = st.integers(0, 99)
    pauses = st.sampled_from((0, 0, 0, 1, 3))
    leaves = st.sampled_from((0, 0, 0, 0, 2, 6))

    @initialize(ats=st.lists(st.tuples(pauses, leaves), min_size=1, max_size=4), status=st.sampled_from((0, 200)))
    def take_off(self, ats: list[tuple[int, int]], status: int) -> None:
        for at in ats:
            self.passengers.append(Passenger(self, SHARED, *at))
        if status:
            self.head(0, status)

    @rule(plan=st.sampled_from((SHARED, SHARED, SHARED, ALONE)), pauses_at=pauses, leaves_at=leaves)
    def come(self, plan: CachePlan, pauses_at: int, leaves_at: int) -> None:
        self.passengers.append(Passenger(self, plan, pauses_at, leaves_at))

    @some
    @rule(pick=number_)
    def leave(self, pick: int) -> None:
        self.passenger(pick).leave()

    @some
    @rule(pick=number_)
    def pause(self, pick: int) -> None:
        self.passenger(pick).pause()

    @some
    @rule(pick=number_)
    def resume(self, pick: int) -> None:
        self.passenger(pick).resume()

    @flying
    @rule(pick=number_, status=st.sampled_from((200, 200, 200, 500)))
    def head(self, pick: int, status: int) -> None:
        call = self.running(pick)
        if call not in self.headed:
            self.headed.add(call)
            call.head(status, TEXT)

    @flying
    @rule(pick=number_, pieces=st.integers(1, 8))
    def data(self, pick: int, pieces: int) -> None:
        call = self.running(pick)
        for _ in range(pieces if call in self.headed else 0):
            # A provider that is paused sends nothing.
            if not call.paused and not call.over:
                self.number += 1
                piece = b"%0*d" % (CHUNK - CHUNK_BYTES, self.number)
                self.told[call] = self.told.get(call, b"") + piece
                call.data(piece)

    @flying
    @rule(pick=number_, how=st.sampled_from(("complete", "complete", "fail", "resend")))
    def end(self, pick: int, how: str) -> None:
        call = self.running(pick)
        if how == "fail":
            call.fail(TruncatedStream())
        elif how == "complete" and call in self.headed:
            call.complete()
        elif how == "resend" and call not in self.headed:
            call.resend()

    @precondition(lambda self: self.turns)
    @rule(pick=number_)
    def turn(self, pick: int) -> None:
        self.turns.pop(pick % len(self.turns))()

    # What always holds ----------------------------------------------------------------------------------------------

    @invariant()
    def same_bytes(self) -> None:
        """Everybody hears the call's bytes from their beginning; all of them, before a good end."""
        for each in self.passengers:
            told = self.told.get(each.call, b"")
            assert told.startswith(each.got.body)
            if each.got.heard[-1:] == ["completed"]:
                assert each.got.body == told
            if each.sits and not each.paused and not self.turns:
                assert each.got.body == told, "what has come is told at once"

    @invariant()
    def one_end(self) -> None:
        """One end at most, and nothing behind it."""
        for each in self.passengers:
            assert len(each.ends) <= 1
            assert not each.ends or each.got.heard[-1] in ("completed", "failed")

    @invariant()
    def stopped_when_nobody_is_left(self) -> None:
        """A provider works exactly as long as somebody waits."""
        for call in self.upstream.calls:
            here = [each for each in self.passengers if each.call is call]
            sitting = [each for each in here if each.sits]
            if not call.over:
                assert sitting
                assert call.paused == all(each.paused or each.seat.waiting for each in sitting)
            if call.stopped:
                assert not sitting
            (owner,) = (each for each in here if each.seat.owns)
            assert not (owner.left and sitting), "the cost is for somebody who is still there"

    @invariant()
    def bounded(self) -> None:
        """What is held stays within its bound, and is let go of with the last caller."""
        waiting = {each.call for each in self.passengers if each.sits}
        assert 0 <= self.memory.held_bytes <= len(waiting) * (FLIGHT_BYTES + CHUNK)
        if not waiting:
            assert self.memory.held_bytes == 0
        for each in self.passengers:
            if isinstance(each.got.error, FellBehind):
                assert len(self.told[each.call]) - len(each.got.body) > FLIGHT_BYTES // 2

    @invariant()
    def kept_whole(self) -> None:
        """What the cache has is some call's every byte."""
        for answer, _ in self.store.kept.values():
            assert answer.body in (*self.told.values(), b"")


class FlightMachineTests(SynchronousTestCase):
    def test_any_interleaving(self) -> None:
        """Whatever callers and provider do, and in whatever order."""
        run_state_machine_as_test(
            FlightMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
        )
