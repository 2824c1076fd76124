"""One realtime session, from the accepted upgrade to its record and the last close frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.controls.hold import Hold
from aigw.controls.visit import Visit
from aigw.dispatch.accounting import Taken
from aigw.dispatch.custom_cost import custom_cost
from aigw.dispatch.exchange import State
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Around, ProviderLookup
from aigw.dispatch.session_log import SWITCHED, SessionLog
from aigw.dispatch.settings import step_clocks
from aigw.errors import (
    ClientGone,
    Drained,
    GatewayError,
    InternalError,
    InvalidAnswer,
    MalformedRequest,
    PolicyLimitExceeded,
    RateLimited,
    SessionClosed,
    SpendLimitExceeded,
    SpoolFull,
    TotalTimeout,
    Unauthorized,
    UpgradeRefused,
)
from aigw.interfaces import IRealtimeReceiver, IRealtimeSocket
from aigw.providers.sessions import SessionReader, session_reader
from aigw.values.ids import id_text
from aigw.values.realtime import RealtimeRequest
from aigw.values.record import TEXT_CHARS, Begin, End, Origin, Target
from aigw.values.step import Clocks, Headers, Step, UpstreamRequest

NORMAL, GOING_AWAY, NOT_TEXT, POLICY, INTERNAL = 1000, 1001, 1007, 1008, 1011

# What a client is told when the session is ended from here.
_CLOSE_CODES: dict[type[GatewayError], int] = {
    Drained: GOING_AWAY,
    MalformedRequest: NOT_TEXT,
    PolicyLimitExceeded: POLICY,
    RateLimited: POLICY,
    SpendLimitExceeded: POLICY,
    TotalTimeout: POLICY,
    Unauthorized: POLICY,
}


@attrs.frozen
class SessionPlan:
    """
    Attributes:
        request: As it will be sent.
        target: What the log says of it.
        reader: For this session.
        visit: The session as the controls see it.
        locked: Names of the headers that were ignored because the owner has locked them.
    """

    request: RealtimeRequest
    target: Target
    reader: SessionReader
    visit: Visit
    locked: tuple[str, ...] = ()


def plan_session(
    step: Step, offered: list[str], providers: ProviderLookup, clocks: Clocks, around: Around
) -> SessionPlan:
    """
    Make an upgrade ready to be sent.

    Args:
        step: What is asked for; its body does not matter.
        offered: The client's subprotocols.
        providers: The table.
        clocks: The owner's; `total_s` is that of a session.
        around: See there.
    Raises:
        InvalidProvider, NotFound, InvalidField: It cannot be sent.
    """
    provider = providers.lookup(step.provider)
    upgrade = provider.upgrade(step.endpoint, step.headers, offered, around.gateway.account)
    clocks = step_clocks(clocks, step.settings)
    ask = provider.ask(b"", step.endpoint)
    target = Target(
        provider=provider.slug,
        path=step.endpoint.partition("?")[0].lstrip("/")[:TEXT_CHARS],
        model=ask.model,
        model_type="realtime",
    )
    # What the controls are shown of an upgrade; nobody sends it.
    request = UpstreamRequest(step.method, upgrade.url, upgrade.headers, b"", clocks, provider.overridden)
    return SessionPlan(
        RealtimeRequest(upgrade.url, upgrade.headers, upgrade.subprotocols, clocks, provider.overridden),
        target,
        provider.session_reader(step.endpoint),
        around.visit(target, request, step, ask, around.price_of(target, custom_cost(step.settings))),
        step.locked,
    )


@attrs.frozen
class Refusal:
    """
    What a provider answered instead of a WebSocket.

    Attributes:
        status: HTTP status.
        headers: As received, names in lower case.
        body: Its beginning.
    """

    status: int
    headers: Headers
    body: bytes


class SessionClient(Protocol):
    """The client's side of one session: `accept` or `refuse`, and after `accept`, `close`, last."""

    def accept(self, subprotocol: str | None) -> GatewayError | None:
        """The provider agreed, and chose this subprotocol: tell the client so. Returns why that cannot be."""

    def refuse(self, error: GatewayError, refusal: Refusal | None) -> None:
        """There is no session. Its record is safe."""

    def send(self, payload: bytes, binary: bool) -> None:
        """A message from the provider."""

    def hold(self) -> None:
        """Read nothing more: the provider reads slowly."""

    def release(self) -> None:
        """Read on."""

    def close(self, code: int | None, reason: str) -> None:
        """The session is over, and its record is safe."""


@implementer(IRealtimeReceiver)
class SessionExchange:
    """
    Relays messages between a client and a provider, and closes exactly once.

    Args:
        parts: See there.
        origin: What is known of the upgrade.
        plan: None when the session is refused.
        client: See there.
        over: Called once, when all is done.
    """

    _log = Logger()

    def __init__(
        self,
        parts: Parts,
        origin: Origin,
        plan: SessionPlan | None,
        client: SessionClient,
        over: Callable[[SessionExchange], None],
    ) -> None:
        self._parts = parts
        self._origin = origin
        self._plan = plan
        self._reader = plan.reader if plan is not None else session_reader("unknown")
        self._target = plan.target if plan is not None else Target("none")
        self._client = client
        self._over = over
        price = plan.visit.price if plan is not None else None
        self._kept = SessionLog(parts, origin, price)
        self._taken = Taken()
        # While the controls wait for a store.
        self._admitting: Deferred[Hold] | None = None
        self._begun_log = False
        self._leg: IRealtimeSocket | None = None
        self._answer: Refusal | None = None
        self.state = State.OPENING
        self.log_id = id_text(origin.id)

    # How it starts ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask the controls, make the BEGIN safe, then connect the provider."""
        self._parts.meter.opened()
        plan = self._plan
        assert plan is not None  # noqa: S101  # narrows the type: what has no plan is refused
        try:
            held = self._parts.controls.admit_session(plan.visit)
        except GatewayError as error:
            self._end(error, INTERNAL, "gateway")
            return
        if isinstance(held, Deferred):
            self._admitting = held
            held.addCallbacks(self._admitted, self._not_admitted).addErrback(self._defect)
        else:
            self._admitted(held)

    def _admitted(self, hold: Hold) -> None:
        self._admitting = None
        self._taken.hold = hold
        try:
            self._parts.sink.begin(Begin(self._origin, self._target, hold.charged), self._begun)
        except SpoolFull as error:
            self._end_unlogged(error)
        else:
            self._begun_log = True

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
        self._end(error, INTERNAL, "gateway")

    def _defect(self, failure: Failure) -> None:
        self._log.failure("{log_id} failed behind its controls", failure=failure, log_id=self.log_id)
        self.abandon(InternalError())

    def refuse(self, error: GatewayError, target: Target) -> None:
        """End the session before any provider is asked; it is logged all the same."""
        self._target = target
        self._parts.meter.opened()
        self._end(error, INTERNAL, "gateway")

    @property
    def own(self) -> Headers:
        """The headers of the gateway itself that the upgrade's answer has beside the usual ones."""
        locked = self._plan.locked if self._plan is not None else ()
        headers = self._taken.hold.headers
        return (*headers, (b"cf-aig-locked", ",".join(locked).encode())) if locked else headers

    def _begun(self) -> None:
        # The client may have left while the BEGIN was being written.
        if self.state is not State.OPENING or self._plan is None or self._parts.realtime is None:
            return
        self.state = State.ASKING
        self._taken.asked = True
        self._kept.asked()
        try:
            self._leg = self._parts.realtime.connect(self._plan.request, self)
        except Exception:
            # Raised here it would be lost in the flush of the log, and the client would wait for ever.
            self._log.failure("the session {log_id} could not be opened", log_id=self.log_id)
            self.failed(InternalError())

    # What the provider's side does: `IRealtimeReceiver` ---------------------------------------------------------------

    def accepted(self, subprotocol: str | None) -> None:
        """The provider agreed: so may the client."""
        self._kept.answered(SWITCHED)
        self.state = State.ANSWERING
        error = self._client.accept(subprotocol)
        if error is not None:
            self._kept.answered(error.status)
            self.abandon(error)

    def refused(self, status: int, headers: Headers, body: bytes) -> None:
        """The provider gave another answer."""
        self._leg = None
        self._kept.answered(status, body)
        self._answer = Refusal(status, headers, body)
        self._end(UpgradeRefused(f"it answered with status {status}"), INTERNAL, "provider")

    def message(self, payload: bytes, binary: bool) -> None:
        """A message from the provider: pass it on, then read it."""
        if self.state is not State.ANSWERING:
            return
        if not binary and not _is_text(payload):
            self.failed(InvalidAnswer("a text message is not UTF-8"), drop=True)
            return
        self._client.send(payload, binary)
        self._read("provider", payload, binary)

    def pause(self) -> None:
        """The provider reads slowly."""
        self._client.hold()

    def resume(self) -> None:
        """The provider has caught up."""
        self._client.release()

    def closed(self, code: int | None, reason: str) -> None:
        """The provider has closed the session."""
        self._leg = None
        self._kept.closed("provider", code, reason)
        good = code in (None, NORMAL)
        self._end(None if good else SessionClosed(f"with code {code}"), code, "provider", reason)

    def failed(self, error: GatewayError, drop: bool = False) -> None:
        """There is no session, or no more of it."""
        if drop:
            self._close_leg(POLICY, "")
        self._leg = None
        self._end(error, _CLOSE_CODES.get(type(error), INTERNAL), "provider")

    # What the client's side does --------------------------------------------------------------------------------------

    def from_client(self, payload: bytes, binary: bool) -> None:
        """A message from the client: pass it on, then read it."""
        if self.state is not State.ANSWERING or self._leg is None:
            return
        if not binary and not _is_text(payload):
            self.abandon(MalformedRequest("a text message is not UTF-8"))
            return
        self._leg.send(payload, binary)
        self._read("client", payload, binary)

    def client_slow(self) -> None:
        """The client reads slowly: take nothing more from the provider."""
        if self._leg is not None:
            self._leg.pause()

    def client_caught_up(self) -> None:
        """The client has caught up."""
        if self._leg is not None:
            self._leg.resume()

    def client_left(self, closed: bool, code: int | None = None, reason: str = "") -> None:
        """
        The client is gone.

        Args:
            closed: Whether it said so, with a close frame.
            code, reason: Of that frame; the code is one that may be sent on.
        """
        if self.state in (State.ENDING, State.OVER):
            return
        if closed:
            self._kept.closed("client", code, reason)
        self._close_leg(code if closed else GOING_AWAY, reason)
        self._end(None if closed else ClientGone(), code, "client")

    def abandon(self, error: GatewayError) -> None:
        """End the session now, from here. Harmless when it is ending anyway."""
        if self.state in (State.ENDING, State.OVER):
            return
        code = _CLOSE_CODES.get(type(error), INTERNAL)
        self._close_leg(GOING_AWAY if code == GOING_AWAY else NORMAL, "")
        self._end(error, code, "gateway")

    def _close_leg(self, code: int | None, reason: str) -> None:
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.close(code, reason)

    # Reading along ----------------------------------------------------------------------------------------------------

    def _read(self, side: str, payload: bytes, binary: bool) -> None:
        self._kept.message(side, payload, binary)
        reader = self._reader
        try:
            heard = reader.client(payload, binary) if side == "client" else reader.provider(payload, binary)
        except Exception:
            # A defect here must not cost anybody the session.
            self._log.failure("the session {log_id} could not be read", log_id=self.log_id)
            self._reader = session_reader("unknown")
            return
        if heard is None:
            return
        cost = self._kept.heard(heard, reader.model)
        if heard.turn and heard.usage is not None and self.state is State.ANSWERING:
            error = self._taken.hold.add(heard.usage, cost)
            if isinstance(error, Deferred):
                error.addCallback(self._judged).addErrback(self._defect)
            else:
                self._judged(error)

    def _judged(self, error: GatewayError | None) -> None:
        """The limits have been asked whether another turn may follow."""
        if error is not None:
            self.abandon(error)

    # How it ends ------------------------------------------------------------------------------------------------------

    def _end(self, error: GatewayError | None, code: int | None, ended_by: str, told: str | None = None) -> None:
        """Make the record safe; `told` is a reason to be passed on, None for our own."""
        if self.state in (State.ENDING, State.OVER):
            return
        admitting, self._admitting = self._admitting, None
        if admitting is not None:
            admitting.cancel()
        self.state = State.ENDING
        reason = told if told is not None else error.message if error is not None else ""
        try:
            self._kept.ended(ended_by, code)
            if self._plan is not None and self._plan.locked:
                self._taken.notes["locked"] = list(self._plan.locked)
            record = self._record(error)
        except Exception:
            # A defect here must not cost the client its ending, nor the log its row.
            self._log.failure("the record of {log_id} could not be completed", log_id=self.log_id)
            error = error or InternalError()
            record = End(self._origin, self._target, status=500, error_code=error.code)
        self._parts.meter.ended(record)
        if self._begun_log:
            self._parts.sink.end(record, lambda: self._finish(error, code, reason))
            return
        try:
            self._parts.sink.alone(record, lambda: self._finish(error, code, reason))
        except SpoolFull as full:
            self._finish(full, INTERNAL, "")

    def _record(self, error: GatewayError | None) -> End:
        last = self._reader.end()
        if last is not None:
            self._kept.heard(last, self._reader.model)
        return self._kept.record(self._target, self._reader, error, self._taken)

    def _end_unlogged(self, error: SpoolFull) -> None:
        """There is no room for a log, so nothing was done."""
        self.state = State.ENDING
        self._taken.settle(None, 0, True)
        self._parts.meter.ended(End(self._origin, Target("none"), status=error.status, error_code=error.code))
        self._finish(error, INTERNAL, "")

    def _finish(self, error: GatewayError | None, code: int | None, reason: str) -> None:
        self.state = State.OVER
        try:
            if self._kept.status == SWITCHED:
                self._client.close(code, reason)
            else:
                self._client.refuse(error or InternalError(), self._answer)
        except Exception:
            # The others whose records were flushed with this one still wait for their last messages.
            self._log.failure("the end of {log_id} could not be told", log_id=self.log_id)
        self._over(self)


def _is_text(payload: bytes) -> bool:
    if payload.isascii():
        return True
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
