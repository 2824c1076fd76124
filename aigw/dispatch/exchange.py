"""One exchange, from the opened request to its record and its last message."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.dispatch.accounting import NO_TARGET, Account, Taken
from aigw.dispatch.admission import Admitted
from aigw.dispatch.answer import Outcome
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Plan
from aigw.dispatch.reading import Reading
from aigw.dispatch.replay import StoredReader
from aigw.dispatch.retry import may_retry_error, may_retry_status, retry_delay_ms
from aigw.dispatch.sourcing import Sourcing
from aigw.errors import GatewayError, InternalError, SpoolFull
from aigw.interfaces import IReply, IUpstreamReceiver
from aigw.serving.wheel import Timer
from aigw.values.cached import CachedAnswer
from aigw.values.ids import id_text
from aigw.values.record import Begin, End, Origin, Target
from aigw.values.step import Headers


class State(enum.Enum):
    """Where an exchange is."""

    OPENING = "the controls are asked, or its BEGIN is being made safe"
    ASKING = "a provider was asked; nothing of its answer has reached the client"
    ANSWERING = "the answer's head has reached the client"
    ENDING = "its END is being made safe"
    OVER = "the client has its terminal message"


@implementer(IUpstreamReceiver)
class Exchange:
    """
    Asks the steps of a request in turn, until one gives an answer, and closes exactly once.

    Args:
        parts: See there.
        origin: What is known of the request.
        plans: The steps, ready to be sent; never empty unless the exchange is refused.
        reply: An `IReply`.
        over: Called once, when all is done.
    """

    _log = Logger()

    def __init__(
        self, parts: Parts, origin: Origin, plans: Sequence[Plan], reply: IReply, over: Callable[[Exchange], None]
    ) -> None:
        self._parts = parts
        self._plans = plans
        self._reply = reply
        self._over = over
        self._account = Account(parts, origin)
        self._taken = Taken()
        # Of a step whose controls wait for a store.
        self._admitting: Deferred[Admitted] | None = None
        self._source = Sourcing(parts, self)
        self._stale: CachedAnswer | None = None
        # Of the present attempt, or of the last one while the next is waited for.
        self._reading: Reading | None = None
        self._cache_status = "MISS"
        self._begun = False
        self._attempting = False
        self._step = 0
        self._attempt = 1
        self._retry: Timer | None = None
        self.state = State.OPENING
        self.log_id = id_text(origin.id)

    # How it starts --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask the controls of the first step."""
        self._parts.meter.opened()
        self._enter(0)

    def refuse(self, error: GatewayError, target: Target) -> None:
        """End the exchange before any provider is asked; it is logged all the same."""
        self._parts.meter.opened()
        self._end(error, target)

    def _enter(self, step: int, may_follow: bool = True) -> None:
        """Stages 5 to 7 of a step; it may be left to a call that another exchange makes, unless that has failed it."""
        self._step = step
        try:
            admitted = self._parts.controls.admit(self._plans[step].visit, self._taken.hold, may_follow)
        except GatewayError as error:
            self._refused(error)
        except Exception:
            # A defect in a control must not cost the client its ending, nor the log its row.
            self._log.failure("the controls of {log_id} failed", log_id=self.log_id)
            self._refused(InternalError())
        else:
            if isinstance(admitted, Deferred):
                self._admitting = admitted
                admitted.addCallbacks(self._admitted, self._not_admitted).addErrback(self._defect)
            else:
                self._admitted(admitted)

    def _not_admitted(self, failure: Failure) -> None:
        if self._admitting is None:
            # The client has left, and the wait was cancelled.
            failure.trap(CancelledError, GatewayError)
            return
        self._admitting = None
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("the controls of {log_id} failed", failure=failure, log_id=self.log_id)
            error = InternalError()
        self._refused(error)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("{log_id} failed behind its controls", failure=failure, log_id=self.log_id)
        self.abandon(InternalError())

    def _refused(self, error: GatewayError) -> None:
        """A step that its owner does not allow is passed over, as one whose provider fails."""
        if self._has_next_step:
            self._next_step()
        else:
            self._end(error)

    def _next_step(self) -> None:
        self._attempt = 1
        self._enter(self._step + 1)

    def _admitted(self, admitted: Admitted) -> None:
        self._admitting = None
        self._taken.hold = admitted.hold
        self._source.admitted(admitted)
        found, sought = admitted.found, admitted.sought
        if found is not None and found.stale:
            self._stale, found = found.answer, None
        if found is not None:
            self._give(found.answer, "HIT")
        elif sought is not None and sought.answer is not None:
            self._taken.notes["distance"] = sought.distance
            self._give(sought.answer, "SEMANTIC")
        elif self._begun:
            self._ask()
        else:
            self._begin(self._begin_asking)

    def _begin(self, then: Callable[[], None]) -> None:
        """Make the BEGIN safe, then go on, unless the client has left meanwhile."""
        charged = self._taken.hold.charged
        try:
            self._parts.sink.begin(Begin(self._account.origin, self._plans[self._step].target, charged), then)
        except SpoolFull as error:
            self._end_unlogged(error)
        else:
            self._begun = True

    def _begin_asking(self) -> None:
        if self.state is State.OPENING:
            self.state = State.ASKING
            self._ask()

    # Asking a provider ----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._retry = None
        source = self._source
        if source.abandoned:
            self._enter(self._step, may_follow=False)
            return
        plan = self._plans[self._step]
        self._account.asked(self._step)
        # Who sits down beside another makes no call of its own.
        self._attempting = not source.follows
        self._reading = Reading(plan.reader, self._reply, self._parts.settings)
        patient = 1 < self._attempt == plan.retry.max_attempts and not self._has_next_step
        try:
            source.ask(plan, patient)
        except GatewayError as error:
            self.failed(error)
        except Exception:
            # Raised here it would be lost in the flush of the log, and the client would wait for ever.
            self._log.failure("the request of {log_id} could not be sent", log_id=self.log_id)
            self.failed(InternalError())
        else:
            self._taken.asked = self._taken.asked or not source.guest

    def _ask_again(self, headers: Headers = ()) -> bool:
        """Make the same attempt once more, after a while; False when it was the last."""
        policy = self._plans[self._step].retry
        if self._attempt >= policy.max_attempts:
            return False
        delay_ms = retry_delay_ms(policy, self._attempt, headers)
        if delay_ms is None:
            return False
        self._attempt += 1
        self._retry = self._parts.later(delay_ms / 1000, self._ask)
        return True

    # Giving a cached answer -----------------------------------------------------------------------------------------

    def _give(self, answer: CachedAnswer, status: str) -> None:
        """Give an answer from the cache instead of asking."""
        self._taken.answer = answer
        self._cache_status = status
        if status != "HIT":
            self._taken.notes["cache"] = status
        self._source.forget_promise()
        reader = StoredReader(answer)
        self._reading = Reading(reader, self._reply, self._parts.settings)
        if not answer.streams:
            self._give_whole(answer, self._reading)
        elif self._begun:
            self._replay(answer, reader)
        else:
            # The client sees it before its END, so that a row must be certain.
            self._begin(partial(self._begin_replay, answer, reader))

    def _give_whole(self, answer: CachedAnswer, reading: Reading) -> None:
        try:
            head = reading.begin(
                self.log_id, self._step, answer.status, answer.headers, self._cache_status, self._own()
            )
            if not reading.held_back:
                self.state = State.ANSWERING
                self._reply.head(head)
            reading.take(answer.body)
        except GatewayError as error:
            self._end(error)
        else:
            self._end(None)

    def _begin_replay(self, answer: CachedAnswer, reader: StoredReader) -> None:
        if self.state is State.OPENING:
            self._replay(answer, reader)

    def _replay(self, answer: CachedAnswer, reader: StoredReader) -> None:
        self.state = State.ASKING
        at_once = self._plans[self._step].visit.gateway.cache_replay == "at_once"
        self._source.replay(answer, reader, at_once)

    def _own(self) -> Headers:
        """The headers of the gateway itself that this answer has beside the usual ones."""
        own = self._taken.hold.headers if self._reply.tells_limits else ()
        locked = self._plans[self._step].locked if self._plans else ()
        return (*own, (b"cf-aig-locked", ",".join(locked).encode())) if locked else own

    # What the client's side does ------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client reads slowly: take nothing more from the provider."""
        self._source.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self._source.resume()

    def abandon(self, error: GatewayError) -> None:
        """End the exchange now: the client has left, or the server stops. Harmless when it is ending anyway."""
        if self.state in (State.ENDING, State.OVER):
            return
        if self._retry is not None:
            self._retry.cancel()
        admitting, self._admitting = self._admitting, None
        if admitting is not None:
            admitting.cancel()
        self._source.stop()
        self._leave(error.code)
        self._end(error)

    # What the provider's side does ----------------------------------------------------------------------------------

    def resent(self) -> None:
        """A kept connection was stale, and the request went out once more."""
        self._account.resent()

    def head(self, status: int, headers: Headers) -> None:
        """The provider has begun to answer: pass it on, or try the next step."""
        self._account.answered(status)
        if not 200 <= status < 300 and self._try_on(status, headers):
            return
        reading = self._reading
        assert reading is not None  # noqa: S101  # narrows the type: somebody was asked
        try:
            head = reading.begin(self.log_id, self._step, status, headers, self._answer_status(status), self._own())
        except GatewayError as error:
            self._break(error)
            return
        self._source.head(head, reading.held_back)
        # What is held back leaves the way open for another step.
        if not reading.held_back:
            self.state = State.ANSWERING
            self._reply.head(head)

    def _answer_status(self, status: int) -> str:
        """`HIT` also for who shares a call that another exchange has made, unless that has failed."""
        return "HIT" if self._source.guest and status < 400 else self._cache_status

    def _try_on(self, status: int, headers: Headers) -> bool:
        """Leave an answer that is no success for another attempt, the next step, or a stale answer."""
        again = may_retry_status(status) and self._ask_again(headers)
        if not again and not self._has_next_step and not (self._stale is not None and may_retry_status(status)):
            return False
        self._source.stop()
        self._leave(0)
        if not again:
            self._go_on(None)
        return True

    def _go_on(self, error: GatewayError | None) -> None:
        """The present step has failed: try the next one, else give what the cache still has."""
        stale, self._stale = self._stale, None
        if self._has_next_step:
            self._stale = stale
            self._next_step()
        elif stale is not None:
            self._give(stale, "STALE")
        else:
            self._end(error)

    def data(self, chunk: bytes) -> None:
        """More of the answer."""
        self._account.got_bytes()
        try:
            self._reading.feed(chunk)  # type: ignore[union-attr]  # somebody was asked
            self._source.data(chunk)
        except GatewayError as error:
            self._break(error)

    def completed(self) -> None:
        """The answer's body has ended as its framing promised; whether it is whole, its content must show."""
        try:
            self._reading.end()  # type: ignore[union-attr]  # somebody was asked
        except GatewayError as error:
            self.failed(error)
            return
        except Exception:
            # A defect here must not cost the client its ending.
            self._log.failure("the end of {log_id} could not be read", log_id=self.log_id)
            self.failed(InternalError())
            return
        reading = self._reading
        assert reading is not None  # noqa: S101  # narrows the type: somebody was asked
        reader = self._plans[self._step].reader
        self._source.completed(reading, reader.model, reader.usage, self.log_id)
        self._leave(0)
        self._end(None)

    def failed(self, error: GatewayError) -> None:
        """There is no answer, or no more of it: try the next step while nothing has reached the client."""
        self._source.failed()
        self._leave(error.code)
        if self.state is not State.ASKING:
            self._end(error)
        elif not (may_retry_error(error) and self._ask_again()):
            self._go_on(error)

    def _break(self, error: GatewayError) -> None:
        """Leave a provider whose answer cannot be used."""
        self._source.stop()
        self.failed(error)

    @property
    def _has_next_step(self) -> bool:
        return self._step + 1 < len(self._plans)

    def _leave(self, error_code: int) -> None:
        """The attempt under way is over, if there is one."""
        if self._attempting:
            self._attempting = False
            self._account.left(self._plans[self._step], error_code)

    # How it ends ----------------------------------------------------------------------------------------------------

    def _end(self, error: GatewayError | None, target: Target | None = None) -> None:
        plan = self._plans[self._step] if self._plans else None
        target = target or (plan.target if plan else NO_TARGET)
        self.state = State.ENDING
        if plan is not None and plan.locked:
            self._taken.notes["locked"] = list(plan.locked)
        source = self._source
        source.forget_promise()
        self._taken.shared = not source.owns
        reading = self._reading
        good = reading is not None and reading.head is not None and reading.head.status < 400
        self._taken.cached = source.guest and not source.owns and good
        try:
            record = self._account.record(plan, reading, error, target, self._taken)
        except Exception:
            # A defect here must not cost the client its ending, nor the log its row.
            self._log.failure("the record of {log_id} could not be completed", log_id=self.log_id)
            error = error or InternalError()
            record = End(self._account.origin, target, status=500, error_code=error.code)
        self._parts.meter.ended(record)
        own = self._own() if error is not None else ()
        outcome = Outcome(self.log_id, self._step, error, None, own=own)
        if reading is not None:
            body = reading.body
            outcome = Outcome(self.log_id, self._step, error, reading.head, body, reading.tail(), reading.whole, own)
        # While the record is being made safe, what nobody gets takes no room.
        self._reading = None
        if self._begun:
            self._parts.sink.end(record, partial(self._finish, outcome))
            return
        try:
            self._parts.sink.alone(record, partial(self._finish, outcome))
        except SpoolFull as full:
            self._finish(Outcome(self.log_id, 0, full, None))

    def _end_unlogged(self, error: SpoolFull) -> None:
        """There is no room for a log, so nothing was done; the client is told in a later turn's place, at once."""
        self._taken.settle(None, 0, True)
        self._parts.meter.ended(End(self._account.origin, NO_TARGET, status=error.status, error_code=error.code))
        self._finish(Outcome(self.log_id, 0, error, None))

    def _finish(self, outcome: Outcome) -> None:
        self.state = State.OVER
        try:
            self._reply.finish(outcome)
        except Exception:
            # The others whose records were flushed with this one still wait for their last messages.
            self._log.failure("the last message of {log_id} could not be sent", log_id=self.log_id)
        self._over(self)
