"""Providers that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from zope.interface import implementer

from aigw.errors import GatewayError
from aigw.interfaces import IUpstream, IUpstreamCall
from aigw.values.step import Headers, UpstreamRequest

JSON: Headers = ((b"content-type", b"application/json"),)
EVENT_STREAM: Headers = ((b"content-type", b"text/event-stream"),)


@implementer(IUpstreamCall)
class ScriptedCall:
    """
    A call to a provider that the test plays.

    What the provider does while it is paused is kept back until `resume`, and what it does after `stop`, or after its
    own end, goes nowhere, as with a real one.

    Args:
        request: As it was sent.
        receiver: Told what the test does.

    Attributes:
        paused: Whether the gateway wants no more bytes for now.
        stopped: Whether the gateway has closed the connection.
        over: Whether nothing more can be told: completed, failed or stopped.
    """

    def __init__(self, request: UpstreamRequest, receiver: Any) -> None:
        self.request = request
        self.paused = False
        self.stopped = False
        self.over = False
        self._receiver = receiver
        self._kept: list[Callable[[], object]] = []

    # What the gateway does ------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """See `IUpstreamCall`."""
        if not self.over:
            self.paused = True

    def resume(self) -> None:
        """See `IUpstreamCall`."""
        self.paused = False
        while self._kept and not self.paused and not self.over:
            self._kept.pop(0)()

    def stop(self) -> None:
        """See `IUpstreamCall`."""
        self.stopped = self.stopped or not self.over
        self.over = True
        self._kept.clear()

    # What the provider does -----------------------------------------------------------------------------------------

    def resend(self) -> None:
        """Have taken the request from a second connection, since the first was stale."""
        if not self.over:
            self._receiver.resent()

    def head(self, status: int = 200, headers: Headers = JSON) -> None:
        """Begin the answer."""
        self._tell(lambda: self._receiver.head(status, headers))

    def data(self, *chunks: bytes) -> None:
        """Send pieces of the body, each on its own."""
        for chunk in chunks:
            self._tell(partial(self._receiver.data, chunk))

    def complete(self) -> None:
        """End the body as its framing promised."""
        self._tell(self._completed)

    def fail(self, error: GatewayError) -> None:
        """Break off, or never answer. Bad news comes through a pause."""
        if not self.over:
            self.over = True
            self._kept.clear()
            self._receiver.failed(error)

    def answer(self, body: bytes, status: int = 200, headers: Headers = JSON) -> None:
        """Give a whole answer at once."""
        self.head(status, headers)
        self.data(body)
        self.complete()

    def events(self, *payloads: bytes) -> None:
        """Send events of a stream, one a chunk."""
        self.data(*(b"data: %b\n\n" % payload for payload in payloads))

    def _completed(self) -> None:
        self.over = True
        self._receiver.completed()

    def _tell(self, call: Callable[[], object]) -> None:
        if self.over:
            return
        if self.paused or self._kept:
            self._kept.append(call)
        else:
            call()


@implementer(IUpstream)
class ScriptedUpstream:
    """
    Takes requests and leaves the answers to the test.

    Attributes:
        calls: Every call that was made, in order.
    """

    def __init__(self) -> None:
        self.calls: list[ScriptedCall] = []

    def send(self, request: UpstreamRequest, receiver: Any) -> ScriptedCall:
        """See `IUpstream`."""
        call = ScriptedCall(request, receiver)
        self.calls.append(call)
        return call

    @property
    def last(self) -> ScriptedCall:
        """The latest call."""
        return self.calls[-1]

    @property
    def running(self) -> list[ScriptedCall]:
        """The calls that are not over."""
        return [call for call in self.calls if not call.over]
