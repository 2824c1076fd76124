"""`IOutboundHTTP`: the gateway's own questions, over the same connections as everybody's."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from aigw.errors import GatewayError, ResponseTooLarge
from aigw.interfaces import IOutboundHTTP, IUpstream, IUpstreamCall, IUpstreamReceiver
from aigw.values.outbound import OutboundAnswer
from aigw.values.step import Clocks, Headers, UpstreamRequest


@implementer(IOutboundHTTP)
class Outbound:
    """
    Asks, and collects small answers.

    Args:
        upstream: Sends the requests.
    """

    def __init__(self, upstream: IUpstream) -> None:
        self._upstream = upstream

    def request(
        self,
        method: bytes,
        url: bytes,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_bytes: int = 65_536,
    ) -> Deferred[OutboundAnswer]:
        """See `IOutboundHTTP`."""
        collector = _Collector(answer_bytes)
        # One clock is enough for an answer that is of use only when it is whole.
        clocks = Clocks(connect_s=0, first_byte_s=0, idle_s=0, total_s=timeout_s)
        # No client has a say in where these go: their addresses are constants, or the operator's settings.
        request = UpstreamRequest(method, url, headers, body, clocks, trusted=True)
        collector.call = self._upstream.send(request, collector)
        return collector.done


@implementer(IUpstreamReceiver)
class _Collector:
    """
    Holds one answer.

    Args:
        answer_bytes: Most bytes of its body.
    Attributes:
        done: Fires with the whole answer.
        call: Under way.
    """

    def __init__(self, answer_bytes: int) -> None:
        self.done: Deferred[OutboundAnswer] = Deferred(lambda _: self._stop())
        self.call: IUpstreamCall | None = None
        self._left_bytes = answer_bytes
        self._status = 0
        self._headers: Headers = ()
        self._pieces: list[bytes] = []

    def _stop(self) -> None:
        if self.call is not None:
            self.call.stop()

    def resent(self) -> None:
        """See `IUpstreamReceiver`."""

    def head(self, status: int, headers: Headers) -> None:
        """See `IUpstreamReceiver`."""
        self._status = status
        self._headers = headers

    def data(self, chunk: bytes) -> None:
        """See `IUpstreamReceiver`."""
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            self._stop()
            self.failed(ResponseTooLarge())
        else:
            self._pieces.append(chunk)

    def completed(self) -> None:
        """See `IUpstreamReceiver`."""
        self.done.callback(OutboundAnswer(self._status, self._headers, b"".join(self._pieces)))

    def failed(self, error: GatewayError) -> None:
        """See `IUpstreamReceiver`."""
        self.done.errback(error)
