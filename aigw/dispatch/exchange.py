"""One exchange, from the opened request to its record and its last message."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from aigw.dispatch.accounting import NO_TARGET, Account
from aigw.dispatch.answer import Outcome
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Plan
from aigw.dispatch.prepared import send_prepared
from aigw.dispatch.reading import Reading
from aigw.dispatch.retry import may_retry_error, may_retry_status, retry_delay_ms
from aigw.errors import GatewayError, InternalError, SpoolFull
from aigw.interfaces import IReply, IUpstreamCall, IUpstreamReceiver
from aigw.serving.wheel import Timer
from aigw.values.ids import id_text
from aigw.values.record import Begin, End, Origin, Target
from aigw.values.step import Headers


class State(enum.Enum):
    """Where an exchange is."""

    OPENING = "its BEGIN is being made safe"
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
        self._call: IUpstreamCall | None = None
        # Of the present attempt, or of the last one while the next is waited for.
        self._reading: Reading | None = None
        self._paused = False
        self._step = 0
        self._attempt = 1
        self._retry: Timer | None = None
        self.state = State.OPENING
        self.log_id = id_text(origin.id)

    # How it starts --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the BEGIN safe, then ask the first provider."""
        self._parts.meter.opened()
        try:
            self._parts.sink.begin(Begin(self._account.origin, self._plans[0].target), self._begun)
        except SpoolFull as error:
            self._end_unlogged(error)

    def refuse(self, error: GatewayError, target: Target) -> None:
        """End the exchange before any provider is asked; it is logged all the same."""
        self._parts.meter.opened()
        try:
            self._parts.sink.begin(Begin(self._account.origin, target), _nothing)
        except SpoolFull as full:
            self._end_unlogged(full)
            return
        self._end(error, target)

    def _begun(self) -> None:
        # The client may have left while the BEGIN was being written.
        if self.state is State.OPENING:
            self.state = State.ASKING
            self._ask(0)

    def _ask(self, step: int, attempt: int = 1) -> None:
        self._step = step
        self._attempt = attempt
        self._retry = None
        plan = self._plans[step]
        self._account.asked(step)
        self._reading = Reading(plan.reader, self._reply, self._parts.settings)
        try:
            request = plan.request
            if 1 < attempt == plan.retry.max_attempts and not self._has_next_step:
                request = attrs.evolve(request, clocks=plan.patience)
            self._call = call = send_prepared(self._parts.upstream, request, plan.credentials, self)
        except GatewayError as error:
            self.failed(error)
            return
        except Exception:
            # Raised here it would be lost in the flush of the log, and the client would wait for ever.
            self._log.failure("the request of {log_id} could not be sent", log_id=self.log_id)
            self.failed(InternalError())
            return
        if self._paused:
            call.pause()

    def _ask_again(self, headers: Headers = ()) -> bool:
        """Make the same attempt once more, after a while; False when it was the last."""
        policy = self._plans[self._step].retry
        if self._attempt >= policy.max_attempts:
            return False
        delay_ms = retry_delay_ms(policy, self._attempt, headers)
        if delay_ms is None:
            return False
        self._retry = self._parts.later(delay_ms / 1000, partial(self._ask, self._step, self._attempt + 1))
        return True

    # What the client's side does ------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client reads slowly: take nothing more from the provider."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def abandon(self, error: GatewayError) -> None:
        """End the exchange now: the client has left, or the server stops. Harmless when it is ending anyway."""
        if self.state in (State.ENDING, State.OVER):
            return
        waiting = self.state is State.OPENING or self._retry is not None
        if self._retry is not None:
            self._retry.cancel()
        self._stop_call()
        if not waiting:
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
            head = reading.begin(self.log_id, self._step, status, headers)
        except GatewayError as error:
            self._break(error)
            return
        # What is held back leaves the way open for another step.
        if not reading.held_back:
            self.state = State.ANSWERING
            self._reply.head(head)

    def _try_on(self, status: int, headers: Headers) -> bool:
        """Leave an answer that is no success for another attempt or the next step; False when there is neither."""
        again = may_retry_status(status) and self._ask_again(headers)
        if not again and not self._has_next_step:
            return False
        self._stop_call()
        self._leave(0)
        if not again:
            self._ask(self._step + 1)
        return True

    def data(self, chunk: bytes) -> None:
        """More of the answer."""
        self._account.got_bytes()
        try:
            self._reading.feed(chunk)  # type: ignore[union-attr]  # somebody was asked
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
        self._call = None
        self._leave(0)
        self._end(None)

    def failed(self, error: GatewayError) -> None:
        """There is no answer, or no more of it: try the next step while nothing has reached the client."""
        self._call = None
        self._leave(error.code)
        if self.state is State.ASKING and may_retry_error(error) and self._ask_again():
            return
        if self.state is State.ASKING and self._has_next_step:
            self._ask(self._step + 1)
        else:
            self._end(error)

    def _break(self, error: GatewayError) -> None:
        """Leave a provider whose answer cannot be used."""
        self._stop_call()
        self.failed(error)

    @property
    def _has_next_step(self) -> bool:
        return self._step + 1 < len(self._plans)

    def _stop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.stop()

    def _leave(self, error_code: int) -> None:
        """The present attempt is over."""
        self._account.left(self._plans[self._step], error_code)

    # How it ends ----------------------------------------------------------------------------------------------------

    def _end(self, error: GatewayError | None, target: Target | None = None) -> None:
        self.state = State.ENDING
        plan = self._plans[self._step] if self._plans else None
        target = target or (plan.target if plan else NO_TARGET)
        reading = self._reading
        try:
            record = self._account.record(plan, reading, error, target)
        except Exception:
            # A defect here must not cost the client its ending, nor the log its row.
            self._log.failure("the record of {log_id} could not be completed", log_id=self.log_id)
            error = error or InternalError()
            record = End(self._account.origin, target, status=500, error_code=error.code)
        self._parts.meter.ended(record)
        outcome = Outcome(self.log_id, self._step, error, None)
        if reading is not None:
            outcome = Outcome(self.log_id, self._step, error, reading.head, reading.body, reading.tail(), reading.whole)
        # While the record is being made safe, what nobody gets takes no room.
        self._reading = None
        self._parts.sink.end(record, lambda: self._finish(outcome))

    def _end_unlogged(self, error: SpoolFull) -> None:
        """There is no room for a log, so nothing was done; the client is told in a later turn's place, at once."""
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


def _nothing() -> None:
    """Wait for nothing: the END follows in the same turn."""
