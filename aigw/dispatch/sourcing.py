"""Where the answer of a step comes from: a provider, a call that another exchange has made, or the cache."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from aigw.controls.cache import CachePlan, Made
from aigw.controls.semantic_cache import Sought
from aigw.dispatch.admission import Admitted, Controls
from aigw.dispatch.answer import AnswerHead
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Plan
from aigw.dispatch.prepared import send_prepared
from aigw.dispatch.reading import Reading
from aigw.dispatch.recording import Recording
from aigw.dispatch.replay import Replay, StoredReader
from aigw.dispatch.seat import Seat
from aigw.interfaces import IUpstreamCall
from aigw.values.cached import CachedAnswer
from aigw.values.usage import Usage


class Sourcing:
    """
    Makes the calls of one exchange, one at a time, and keeps what its cache may keep.

    Args:
        parts: See there.
        receiver: The exchange, an `IUpstreamReceiver`.

    Attributes:
        follows: Whether the step may be answered by another's call only, since it has taken nothing from its limits.
        guest: Whether the present call, or the last one, was made by another exchange.
        owns: Whether its cost is this exchange's.
    """

    __slots__ = (
        "_cache_plan",
        "_call",
        "_controls",
        "_parts",
        "_paused",
        "_receiver",
        "_recording",
        "_seat",
        "_sought",
        "follows",
        "guest",
        "owns",
    )

    def __init__(self, parts: Parts, receiver: Any) -> None:
        self._parts = parts
        self._controls: Controls = parts.controls
        self._receiver = receiver
        self._call: IUpstreamCall | None = None
        self._seat: Seat | None = None
        self._recording: Recording | None = None
        self._cache_plan: CachePlan | None = None
        self._sought: Sought | None = None
        self._paused = False
        self.follows = False
        self.guest = False
        self.owns = True

    def admitted(self, admitted: Admitted) -> None:
        """The controls have let the step through."""
        self.forget_promise()
        self._cache_plan = plan = admitted.plan
        self._sought = admitted.sought
        self.follows = admitted.follows
        if plan is not None and plan.shared and not admitted.follows and admitted.found is None:
            self._controls.flights.promise(plan, self)

    def forget_promise(self) -> None:
        """Nobody need wait for a call of this exchange any more."""
        plan = self._cache_plan
        if plan is not None and plan.shared:
            self._controls.flights.forget(plan, self)

    @property
    def abandoned(self) -> bool:
        """Whether the call that this step was to share is not there: the step must be admitted anew."""
        plan = self._cache_plan
        return self.follows and plan is not None and not self._controls.flights.flies(plan)

    # Calls ----------------------------------------------------------------------------------------------------------

    def ask(self, plan: Plan, patient: bool) -> None:
        """
        Ask the provider of a step, or sit down beside who asks it already.

        Args:
            plan: Of the step.
            patient: Whether the owner's clocks hold instead of the caller's.
        Raises:
            GatewayError: It cannot be asked.
        """
        request = msgspec.structs.replace(plan.request, clocks=plan.patience) if patient else plan.request
        start = partial(send_prepared, self._parts.upstream, request, plan.credentials)
        cache_plan = self._cache_plan
        self.guest, self.owns = False, True
        if cache_plan is None or not cache_plan.shared:
            self._call = call = start(self._receiver)
            if self._paused:
                call.pause()
            return
        self._call = self._seat = seat = self._controls.flights.board(cache_plan, start, self._receiver)
        self.forget_promise()
        self.guest, self.owns = seat.guest, seat.owns
        if self._paused:
            seat.pause()
        seat.begin()

    def replay(self, answer: CachedAnswer, reader: StoredReader, at_once: bool) -> None:
        """Give a cached stream as a provider would."""
        self._call = replay = Replay(answer, self._receiver, reader, at_once, self._parts.soon)
        if self._paused:
            replay.pause()
        replay.begin()

    def pause(self) -> None:
        """The client reads slowly: take nothing more."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def stop(self) -> None:
        """Leave the present call, if there is one."""
        call, seat = self._call, self._seat
        if call is not None:
            call.stop()
        if seat is not None:
            self.owns = seat.owns
        self._over()

    # What comes back ------------------------------------------------------------------------------------------------

    def head(self, head: AnswerHead, held_back: bool) -> None:
        """An answer has begun; what the exchange does not hold itself is kept here, should the cache take it."""
        plan = self._cache_plan
        if plan is None or plan.shared or held_back or isinstance(self._call, Replay):
            return
        if self._controls.cache.takes(head.status, head.headers):
            self._recording = Recording(self._controls.flights.memory)

    def data(self, chunk: bytes) -> None:
        """More of it."""
        if self._recording is not None:
            self._recording.add(chunk)

    def completed(self, reading: Reading, model: str, usage: Usage | None, log_id: str) -> None:
        """
        The answer is whole and good: keep it.

        Args:
            reading: Of the answer.
            model, usage: As it told them.
            log_id: Of the exchange.
        """
        seat, plan, head = self._seat, self._cache_plan, reading.head
        kept = None
        if seat is not None:
            kept = seat.vouch(model, usage, log_id)
            self.owns = seat.owns
        elif plan is not None and head is not None and not isinstance(self._call, Replay):
            body = self._body(reading)
            if body is not None:
                kept = self._controls.cache.offer(plan, head.status, head.headers, body, Made(model, usage, log_id))
        sought = self._sought
        if kept is not None and sought is not None and sought.answer is None and self._controls.semantic is not None:
            self._controls.semantic.remember(sought, kept)
        self._over()

    def _body(self, reading: Reading) -> bytes | None:
        """The whole answer, None where it was not kept."""
        if reading.held_back:
            return reading.body
        recording = self._recording
        return recording.body() if recording is not None and recording.whole else None

    def failed(self) -> None:
        """There is no more of it."""
        if self._seat is not None:
            self.owns = self._seat.owns
        self._over()

    def _over(self) -> None:
        self._call = self._seat = None
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()
