"""One exchange, from the opened request to its record and its last message."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
import msgspec
from twisted.logger import Logger
from zope.interface import implementer

from aigw.codecs.content_coding import ContentDecoder, coding_of
from aigw.codecs.json_text import is_json
from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.dispatch.capture import Capture
from aigw.dispatch.plan import EventParser, Plan
from aigw.dispatch.prepared import send_prepared
from aigw.dispatch.retry import may_retry_error, may_retry_status, retry_delay_ms
from aigw.dispatch.settings import DispatchSettings
from aigw.dispatch.upload import Upload
from aigw.errors import GatewayError, InternalError, ProviderFailed, ResponseTooLarge, SpoolFull, TruncatedStream
from aigw.interfaces import ILogSink, IReply, IUpstream, IUpstreamCall, IUpstreamReceiver
from aigw.serving.wheel import Timer
from aigw.values.ids import id_text
from aigw.values.record import TEXT_CHARS, Attempt, Begin, End, Origin, Target
from aigw.values.step import Headers
from aigw.values.usage import Usage

# The log of one exchange stays narrow however many calls were made.
ATTEMPTS_KEPT = 16


class Meter(Protocol):
    """What counts exchanges."""

    def opened(self) -> None:
        """An exchange has opened."""

    def ended(self, record: End) -> None:
        """An exchange is over; called once for each that was opened."""


@attrs.frozen
class Parts:
    """
    What every exchange works with.

    Attributes:
        upstream: Sends requests to providers.
        sink: Takes records.
        price: Nano-dollars of a usage by provider and model; None when unknown.
        monotonic: Seconds, for durations.
        meter: Counts.
        settings: Bounds.
        later: Calls back after seconds; what it returns has `cancel()`.
    """

    upstream: IUpstream
    sink: ILogSink
    price: Callable[[str, str, Usage], int | None]
    monotonic: Callable[[], float]
    meter: Meter
    settings: DispatchSettings
    later: Callable[[float, Callable[[], None]], Timer]


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
        self._origin = origin
        self._plans = plans
        self._reply = reply
        self._over = over
        self._opened_at = parts.monotonic()
        self._capture = Capture(parts.settings.log_body_bytes)
        self._attempts: list[Attempt] = []
        self._call: IUpstreamCall | None = None
        self._paused = False
        self._step = 0
        self._attempt = 1
        self._retry: Timer | None = None
        self._attempt_at = 0.0
        self._head_at = -1.0
        self._first_byte_at = -1.0
        self._status = 0
        self._resends = 0
        self._head: AnswerHead | None = None
        self._decoder: ContentDecoder | None = None
        self._events: EventParser | None = None
        self._held: list[bytes] | None = None
        self._body = b""
        # The stream's bytes from its end mark on, where the reply holds them back.
        self._holds_end = False
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self.state = State.OPENING
        self.log_id = id_text(origin.id)

    # How it starts --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the BEGIN safe, then ask the first provider."""
        self._parts.meter.opened()
        try:
            self._parts.sink.begin(Begin(self._origin, self._plans[0].target), self._begun)
        except SpoolFull as error:
            self._end_unlogged(error)

    def refuse(self, error: GatewayError, target: Target) -> None:
        """End the exchange before any provider is asked; it is logged all the same."""
        self._parts.meter.opened()
        try:
            self._parts.sink.begin(Begin(self._origin, target), _nothing)
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
        self._attempt_at = self._parts.monotonic()
        self._head_at = self._first_byte_at = -1.0
        self._status = self._resends = 0
        self._head = self._decoder = self._events = self._held = None
        self._capture.restart()
        try:
            plan = self._plans[step]
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
            self._note_attempt(error.code)
        self._end(error)

    # What the provider's side does ----------------------------------------------------------------------------------

    def resent(self) -> None:
        """A kept connection was stale, and the request went out once more."""
        self._resends += 1

    def head(self, status: int, headers: Headers) -> None:
        """The provider has begun to answer: pass it on, or try the next step."""
        self._head_at = self._parts.monotonic()
        self._status = status
        if not 200 <= status < 300 and self._try_on(status, headers):
            return
        if self._reply.wants_whole:
            try:
                headers = self._decode(headers)
            except GatewayError as error:
                self._break(error)
                return
        content_type = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
        reader = self._plans[self._step].reader
        reader.head(headers)
        self._events = reader.parser(content_type, self._parts.settings.event_bytes)
        streaming = self._events is not None
        # Without an end mark of its own a stream ends with its framing, and nothing of it is held.
        self._holds_end = self._reply.holds_end and not reader.terminal
        self._head = AnswerHead(self.log_id, self._step, status, content_type, headers, streaming)
        if not streaming and self._reply.wants_whole:
            # Nothing of it reaches the client before it is complete, so another step may still answer.
            self._held = []
            return
        self.state = State.ANSWERING
        self._reply.head(self._head)

    def _try_on(self, status: int, headers: Headers) -> bool:
        """Leave an answer that is no success for another attempt or the next step; False when there is neither."""
        again = may_retry_status(status) and self._ask_again(headers)
        if not again and not self._has_next_step:
            return False
        self._stop_call()
        self._note_attempt(0)
        if not again:
            self._ask(self._step + 1)
        return True

    def _decode(self, headers: Headers) -> Headers:
        """Undo a coding that nobody asked for: what is taken apart for messages must be plain."""
        coding = coding_of(headers)
        if not coding:
            return headers
        self._decoder = ContentDecoder(coding, self._parts.settings.response_bytes)
        return tuple(field for field in headers if field[0] not in (b"content-encoding", b"content-length"))

    def data(self, chunk: bytes) -> None:
        """More of the answer."""
        if self._first_byte_at < 0:
            self._first_byte_at = self._parts.monotonic()
        try:
            if self._decoder is not None:
                chunk = self._decoder.feed(chunk)
            self._take(chunk)
        except GatewayError as error:
            self._break(error)

    def _take(self, chunk: bytes) -> None:
        self._capture.add(chunk)
        if self._events is not None:
            events = self._events.feed(chunk)
            reader = self._plans[self._step].reader
            for event in events:
                reader.event(event)
            if self._holds_end and (reader.terminal or self._tail):
                self._keep_end(chunk)
            else:
                self._reply.body(chunk, events)
        elif self._held is not None:
            self._held.append(chunk)
            if self._capture.total_bytes > self._parts.settings.response_bytes:
                raise ResponseTooLarge()
        else:
            self._reply.body(chunk, ())

    def _keep_end(self, chunk: bytes) -> None:
        """The end mark completes the answer, so it leaves behind the record; hardly anything comes behind it."""
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        if self._tail_bytes > self._parts.settings.event_bytes:
            raise ResponseTooLarge()

    def completed(self) -> None:
        """The answer's body has ended as its framing promised; whether it is whole, its content must show."""
        try:
            self._read_end()
        except GatewayError as error:
            self.failed(error)
            return
        except Exception:
            # A defect here must not cost the client its ending.
            self._log.failure("the end of {log_id} could not be read", log_id=self.log_id)
            self.failed(InternalError())
            return
        self._call = None
        self._note_attempt(0)
        self._end(None)

    def _read_end(self) -> None:
        """
        Look for the end mark of the answer itself.

        Raises:
            TruncatedStream: There is none.
            ProviderFailed: The answer is whole, and says of itself that it failed.
        """
        reader = self._plans[self._step].reader
        if self._decoder is not None and not self._decoder.finished:
            raise TruncatedStream()
        if self._events is not None:
            self._last_event(self._events)
            if not reader.terminal:
                raise TruncatedStream()
            if reader.error:
                raise ProviderFailed("it reported an error within its stream")
            return
        body = b"".join(self._held or ())
        reader.body(body or self._capture.body())
        # A body that ends with its connection may be cut anywhere.
        if body and not reader.terminal and self._promises_json and not is_json(body):
            raise TruncatedStream()
        self._body = body
        self._held = None

    @property
    def _promises_json(self) -> bool:
        head = self._head
        return head is not None and head.status < 400 and head.content_type.partition(";")[0].strip().endswith("json")

    def _last_event(self, parser: EventParser) -> None:
        """Some servers leave out the blank line behind their last event; half an event is none."""
        whole = [event for event in parser.end() if event.data == b"[DONE]" or is_json(event.data)]
        for event in whole:
            self._plans[self._step].reader.event(event)
        if whole:
            self._reply.body(b"", whole)

    def failed(self, error: GatewayError) -> None:
        """There is no answer, or no more of it: try the next step while nothing has reached the client."""
        self._call = None
        self._note_attempt(error.code)
        if self.state is State.ASKING and may_retry_error(error) and self._ask_again():
            return
        if self.state is State.ASKING and self._has_next_step:
            self._ask(self._step + 1)
        else:
            self._held = None
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

    # How it ends ----------------------------------------------------------------------------------------------------

    def _note_attempt(self, error_code: int) -> None:
        if len(self._attempts) >= ATTEMPTS_KEPT:
            return
        plan = self._plans[self._step]
        self._attempts.append(
            Attempt(
                step=self._step,
                provider=plan.target.provider,
                status=self._status,
                error_code=error_code,
                started_ms=_ms(self._attempt_at - self._opened_at),
                first_byte_ms=_ms(self._head_at - self._attempt_at) if self._head_at >= 0 else -1,
                duration_ms=_ms(self._parts.monotonic() - self._attempt_at),
                model=plan.target.model,
                resends=self._resends,
            )
        )

    def _end(self, error: GatewayError | None, target: Target | None = None) -> None:
        self.state = State.ENDING
        try:
            record = self._record(error, target)
        except Exception:
            # A defect here must not cost the client its ending, nor the log its row.
            self._log.failure("the record of {log_id} could not be completed", log_id=self.log_id)
            error = error or InternalError()
            record = End(self._origin, target or self._plans[self._step].target, status=500, error_code=error.code)
        self._parts.meter.ended(record)
        outcome = Outcome(self.log_id, self._step, error, self._head, self._body, b"".join(self._tail))
        self._parts.sink.end(record, lambda: self._finish(outcome))

    def _end_unlogged(self, error: SpoolFull) -> None:
        """There is no room for a log, so nothing was done; the client is told in a later turn's place, at once."""
        self._parts.meter.ended(End(self._origin, Target("none"), status=error.status, error_code=error.code))
        self._finish(Outcome(self.log_id, 0, error, None))

    def _finish(self, outcome: Outcome) -> None:
        self.state = State.OVER
        try:
            self._reply.finish(outcome)
        except Exception:
            # The others whose records were flushed with this one still wait for their last messages.
            self._log.failure("the last message of {log_id} could not be sent", log_id=self.log_id)
        self._over(self)

    def _record(self, error: GatewayError | None, target: Target | None) -> End:
        now = self._parts.monotonic()
        plan = self._plans[self._step] if self._plans else None
        target = target or (plan.target if plan else Target("none"))
        head = self._head
        usage, cost, response_model = self._usage(plan, error)
        keep = self._origin.collect_payload
        status = error.status if error is not None and (head is None or self._held_back) else head.status if head else 0
        request, request_bytes, request_cut = self._request_body(plan)
        if plan is not None and request_bytes != target.request_bytes:
            target = msgspec.structs.replace(target, request_bytes=request_bytes)
        return End(
            origin=self._origin,
            target=target,
            duration_ms=_ms(now - self._opened_at),
            first_byte_ms=_ms(self._first_byte_at - self._opened_at) if self._first_byte_at >= 0 else -1,
            status=status,
            success=error is None and head is not None and head.status < 400,
            complete=error is None and head is not None,
            step=self._step,
            response_content_type=head.content_type[:TEXT_CHARS] if head else "",
            response_bytes=self._capture.total_bytes,
            response_model=response_model[:TEXT_CHARS],
            usage=usage,
            cost_nanousd=cost,
            error_code=error.code if error else 0,
            error=error.message[: 2 * TEXT_CHARS] if error else "",
            attempts=self._attempts,
            request_body=request if keep and plan else None,
            response_body=self._capture.body() if keep and head is not None else None,
            request_cut=keep and request_cut,
            response_cut=keep and self._capture.cut,
        )

    def _request_body(self, plan: Plan | None) -> tuple[bytes, int, bool]:
        """What the log keeps of the request's body, how long all of it was, and whether some is missing."""
        body = plan.request.body if plan else b""
        if isinstance(body, Upload):
            return body.capture.body(), body.capture.total_bytes, body.capture.cut
        if not isinstance(body, bytes):
            # Another producer keeps nothing of what it made.
            return b"", 0, True
        kept = self._parts.settings.log_body_bytes
        return body[:kept], len(body), len(body) > kept

    @property
    def _held_back(self) -> bool:
        """Whether the answer's head has not reached the client."""
        return self._head is not None and not self._head.streaming and bool(self._reply.wants_whole)

    def _usage(self, plan: Plan | None, error: GatewayError | None) -> tuple[Usage | None, int | None, str]:
        if plan is None or self._head is None:
            return None, None, ""
        reader = plan.reader
        usage = reader.usage
        if self._head.streaming and self._head.status < 400:
            # The provider counted and will charge for it, also when the client left in the middle; what it told until
            # then may be a beginning only.
            usage = reader.estimate(self._request_body(plan)[0])
        if usage is None:
            return None, None, reader.model
        price = self._parts.price
        cost = price(plan.provider.slug, reader.model, usage) if reader.model else None
        if cost is None and plan.target.model:
            cost = price(plan.provider.slug, plan.target.model, usage)
        return usage, cost, reader.model


def _ms(seconds: float) -> int:
    return int(seconds * 1000 + 0.5)


def _nothing() -> None:
    """Wait for nothing: the END follows in the same turn."""
