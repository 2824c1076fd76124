"""One call to a provider: its four clocks, its pauses, and its one end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import (
    ConnectTimeout,
    FirstByteTimeout,
    GatewayError,
    IdleTimeout,
    InternalError,
    ProviderFailed,
    TotalTimeout,
)
from aigw.interfaces import IUpstreamCall
from aigw.serving.wheel import Timer, Wheel
from aigw.upstream.answer import Answer
from aigw.upstream.body import HeldBody, StreamedBody
from aigw.upstream.client import DirectClient
from aigw.values.step import UpstreamRequest


@implementer(IUpstreamCall, IProtocol)
class Call:
    """
    Stands between an agent and a receiver.

    Connecting, sending a streamed body, waiting for the head and reading the answer's body follow each other, so one
    timer serves all their clocks; it is known by the error that it would end the call with. While a body is sent, it
    runs only when the provider takes nothing of it. Pausing stops it, but for the connect clock.

    Args:
        wheel: Runs the clocks.
        request: To be sent.
        receiver: An `IUpstreamReceiver`.
    """

    _log = Logger()

    __slots__ = (
        "_answer",
        "_asking",
        "_begun",
        "_body",
        "_clocks",
        "_left_s",
        "_over",
        "_paused",
        "_phase",
        "_receiver",
        "_timer",
        "_total",
    )

    def __init__(self, wheel: Wheel, request: UpstreamRequest, receiver: Any) -> None:
        clocks = request.clocks
        self._clocks = clocks
        self._receiver = receiver
        self._paused = False
        self._over = False
        # Whether the receiver has the head.
        self._begun = False
        self._body: StreamedBody | None = None
        self._answer: Answer | None = None
        self._asking: Deferred[Answer] | None = None
        self._phase: type[ProviderFailed] = ConnectTimeout
        # What the timer still had to run when a pause stopped it; None when its clock is off.
        self._left_s: float | None = None
        self._timer: Timer = Timer(wheel, self._silent)
        self._total: Timer = Timer(wheel, self._too_long)
        if clocks.connect_s:
            self._timer.reset(clocks.connect_s)
        if clocks.total_s:
            self._total.reset(clocks.total_s)

    def begin(self, client: DirectClient, request: UpstreamRequest, clock: IReactorTime) -> None:
        """
        Send the request.

        Args:
            client: Over the agents.
            request: As before.
            clock: Puts off bad news that comes at once: the receiver's owner has not got this call yet.
        """
        body: HeldBody | StreamedBody
        if isinstance(request.body, bytes):
            body = HeldBody(request.body, self._opened, self._sent)
        else:
            body = self._body = StreamedBody(request.body, self._flowing, self._blocked, self._sent)
        asking = client.request(request.method, request.url, headers=request.headers, data=body)
        self._asking = asking
        if asking.called:
            clock.callLater(0, asking.addCallbacks, self._answered, self._unanswered)
        else:
            asking.addCallbacks(self._answered, self._unanswered)

    # IUpstreamCall ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Take no more bytes; see `IUpstreamCall`."""
        if self._paused or self._over:
            return
        self._paused = True
        if self._phase is not ConnectTimeout:
            self._left_s = self._timer.remaining_s if self._timer.active else None
            self._timer.cancel()
        if self._answer is not None:
            self._answer.pauseProducing()

    def resume(self) -> None:
        """Go on; see `IUpstreamCall`."""
        if not self._paused or self._over:
            return
        self._paused = False
        if self._phase is not ConnectTimeout and self._left_s is not None:
            self._timer.reset(self._left_s)
        answer = self._answer
        if answer is None:
            return
        if self._begun:
            answer.resumeProducing()
        else:
            self._deliver(answer)

    def stop(self) -> None:
        """Close the connection, and tell the receiver nothing; see `IUpstreamCall`."""
        if not self._over:
            self._end()
            self._hang_up()

    # What the agent tells ---------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        """The request is on an open and verified connection; the second time, on another than before."""
        if self._over:
            return
        again = self._phase is not ConnectTimeout
        self._enter(FirstByteTimeout, self._clocks.first_byte_s)
        if again:
            self._tell_resent()

    def _tell_resent(self) -> None:
        try:
            self._receiver.resent()
        except Exception:
            self._receiver_failed()

    def _flowing(self) -> None:
        """The provider takes the body; how fast it comes is not the provider's doing."""
        if self._begun:
            self._wind()
        elif not self._over:
            self._enter(IdleTimeout, 0)

    def _blocked(self) -> None:
        """The provider takes no more of the body for now."""
        if not self._begun and not self._over:
            self._enter(IdleTimeout, self._clocks.idle_s)

    def _sent(self) -> None:
        """A large request has left at last: the provider's time begins now."""
        if self._begun:
            self._wind()
        elif not self._over:
            self._enter(FirstByteTimeout, self._clocks.first_byte_s)

    def _answered(self, answer: Answer) -> None:
        self._answer = answer
        if self._over:
            self._hang_up()
        elif self._paused:
            # The clock stands still already, and the answer holds on to what comes.
            pass
        else:
            self._deliver(answer)

    def _deliver(self, answer: Answer) -> None:
        self._begun = True
        self._enter(IdleTimeout, self._clocks.idle_s)
        try:
            self._receiver.head(answer.code, answer.fields)
        except Exception:
            self._receiver_failed()
        if not self._over:
            answer.deliverBody(self)

    def _unanswered(self, failure: Failure) -> None:
        if self._over:
            return
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("An agent failed in a way that it should not", failure=failure)
            error = InternalError()
        self._fail(error)

    # IProtocol: the body ----------------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """The body begins, unless `head` has paused it."""
        if self._paused and self._answer is not None:
            self._answer.pauseProducing()

    def connectionMade(self) -> None:
        """Nothing to do: `makeConnection` is not Twisted's own."""

    def dataReceived(self, data: bytes) -> None:
        """A piece of the body."""
        self._wind()
        try:
            self._receiver.data(data)
        except Exception:
            self._receiver_failed()

    def connectionLost(self, reason: Failure) -> None:
        """The body is over."""
        if self._over:
            return
        error = reason.value
        if isinstance(error, GatewayError):
            self._fail(error)
            return
        self._end()
        try:
            self._receiver.completed()
        except Exception:
            self._log.failure("A receiver failed at the end of an answer")

    # Clocks and ends --------------------------------------------------------------------------------------------------

    def _enter(self, phase: type[ProviderFailed], clock_s: float) -> None:
        """Run another clock; one of 0 is off."""
        self._phase = phase
        if self._paused:
            self._timer.cancel()
            self._left_s = clock_s or None
        elif clock_s:
            self._timer.reset(clock_s)
        else:
            self._timer.cancel()

    def _wind(self) -> None:
        """The answer, or the body that is still being sent beside it, has come on."""
        if self._clocks.idle_s and not self._paused and not self._over:
            self._timer.reset(self._clocks.idle_s)

    def _silent(self) -> None:
        stuck = self._phase is IdleTimeout and not self._begun
        self._break(IdleTimeout("it took no more of the request") if stuck else self._phase())

    def _too_long(self) -> None:
        self._break(TotalTimeout())

    def _receiver_failed(self) -> None:
        self._log.failure("A receiver failed in the middle of an answer")
        self._break(InternalError())

    def _break(self, error: GatewayError) -> None:
        """End a call whose connection is still open."""
        if not self._over:
            self._fail(error)
            self._hang_up()

    def _fail(self, error: GatewayError) -> None:
        self._end()
        try:
            self._receiver.failed(error)
        except Exception:
            self._log.failure("A receiver failed at the end of an answer")

    def _end(self) -> None:
        self._over = True
        body, self._body = self._body, None
        if body is not None:
            body.stopProducing()
        for timer in (self._timer, self._total):
            timer.cancel()
            # It points back here; left so, each call would be a cycle for the garbage collector to find.
            timer.call = _nothing

    def _hang_up(self) -> None:
        answer, self._answer = self._answer, None
        asking, self._asking = self._asking, None
        if answer is not None:
            answer.stopProducing()
        elif asking is not None:
            asking.cancel()


def _nothing() -> None:
    """What the timers of a call that is over would call."""
