"""An exchange's answer over HTTP: the provider's own status, headers and bytes, and ours beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aigw.codecs.sse import Event
from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.dispatch.exchange import Exchange
from aigw.errors import ClientGone
from aigw.interfaces import IReply
from aigw.serving.http import GatewayRequest, refuse
from aigw.serving.wheel import Timer, Wheel
from aigw.values.step import Headers
from aigw.wire.cors import allow_origin

# What concerns one connection only, what the channel sets itself, and a page's rights, which are ours to give.
_OURS = frozenset(
    (
        b"connection",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_NOT_THEIRS = (b"access-control-", b"cf-aig-")
_NO_BODY = frozenset((204, 304))
# How an event ends, whatever a line ends with.
_EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
HEARTBEAT = b": still here\n\n"


@implementer(IReply, IPushProducer)
class HttpReply:
    """
    Writes one answer.

    The last bytes of a body wait behind the exchange's record: those from a stream's end mark on, those that fill the
    promised length, or the end of the chunked coding.

    Args:
        request: To be answered.
        event_id: The client's, empty when it gave none.
        wheel: For heartbeats.
        heartbeat_s: Seconds of silence in a stream after which a comment is sent; 0 is off.
        stalled_s: Seconds after which a client that takes nothing of what waits for it is given up.
        over: Called once, when the answer is complete or the connection gone.
    """

    wants_whole = False
    holds_end = True
    tells_limits = True

    def __init__(
        self,
        request: GatewayRequest,
        event_id: str,
        wheel: Wheel,
        heartbeat_s: float,
        stalled_s: float,
        over: Callable[[], None],
    ) -> None:
        self._request = request
        self._event_id = event_id
        self._wheel = wheel
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s
        self._over = over
        self._exchange: Exchange | None = None
        self._gone = False
        self._begun = False
        self._paused = False
        # Body bytes that are still to come by the provider's own word; None without it.
        self._left: int | None = None
        self._held = b""
        # Status and headers, and whether they tell the length, that leave with the first bytes behind them.
        self._unsent: tuple[int, list[tuple[bytes, bytes]], bool] | None = None
        self._bodiless = False
        self._silence: Timer | None = None
        self._stalled: Timer | None = None
        # The last bytes that went out; at the beginning, as good as the end of an event.
        self._latest = _EVENT_ENDS[0]
        request.left = self._client_left

    def attach(self, exchange: Exchange) -> None:
        """The exchange that this reply belongs to; pausing and leaving go there."""
        self._exchange = exchange
        if self._gone:
            exchange.abandon(ClientGone())
        elif self._paused:
            exchange.pause()

    def _client_left(self) -> None:
        self._gone = True
        self._quiet()
        if self._exchange is not None:
            self._exchange.abandon(ClientGone())

    # IReply ---------------------------------------------------------------------------------------------------------

    def head(self, head: AnswerHead) -> None:
        """Send the provider's status and headers, and ours."""
        if self._gone:
            return
        request = self._request
        self._begun = True
        own = {name.lower(): value for name, value in head.own}
        named = _named(head.headers)
        fields = []
        sized = False
        for field in head.headers:
            name, value = field
            if name == b"content-length":
                sized = name not in named
                if value.isdigit():
                    self._left = int(value)
            # Our own stand in place of the provider's, whose limits are its own affair.
            if name not in _OURS and name not in own and name not in named and not name.startswith(_NOT_THEIRS):
                fields.append(field)
        fields += self._own_fields(head.log_id, head.step, head.cache_status)
        fields += own.items()
        allow_origin(request)
        self._bodiless = request.method == b"HEAD" or head.status in _NO_BODY
        self._unsent = (head.status, fields, sized)
        if self._bodiless:
            self._left = None
            return
        request.registerProducer(self, True)
        if head.streaming:
            # The head alone tells the client that the answer has begun.
            self._begin()
            if self._heartbeat_s and self._takes_comments(head):
                self._silence = self._wheel.schedule(self._heartbeat_s, self._heartbeat)

    def _begin(self) -> None:
        """Send the head, unless it has left."""
        if self._unsent is not None:
            (status, fields, sized), self._unsent = self._unsent, None
            self._request.begin(status, fields, sized)

    def body(self, chunk: bytes, events: Sequence[Event]) -> None:
        """Pass bytes on, but for those that complete the answer."""
        if self._gone or not chunk or self._bodiless:
            return
        if self._left is not None:
            self._left -= len(chunk)
            if self._left <= 0:
                self._held += chunk
                return
        if self._silence is not None:
            self._latest = chunk[-3:] if len(chunk) >= 3 else (self._latest + chunk)[-3:]
            self._silence.reset(self._heartbeat_s)
        self._begin()
        self._request.write(chunk)

    def finish(self, outcome: Outcome) -> None:
        """The record is safe: complete the answer, or cut it off."""
        self._quiet()
        if not self._gone:
            if not self._begun and outcome.error is not None:
                for name, value in (*self._own_fields(outcome.log_id, outcome.step, "MISS"), *outcome.own):
                    self._request.setHeader(name, value)
                allow_origin(self._request)
                refuse(self._request, outcome.error)
            elif outcome.error is not None and not (outcome.whole or outcome.tail):
                self._cut()
            else:
                # Also when the stream says of itself that it failed: its own words end it.
                self._complete(outcome)
        self._over()

    def _complete(self, outcome: Outcome) -> None:
        request = self._request
        last = self._held + outcome.tail
        self._begin()
        if last and not self._bodiless:
            request.write(last)
        request.unregisterProducer()
        request.finish()

    def _cut(self) -> None:
        """End the connection and not the answer: an ending that looks like a good one would be taken for the whole."""
        request: Any = self._request
        request.unregisterProducer()
        if request.chunked or self._left is not None:
            # The client has everything up to here, and sees that something is missing.
            request.channel.loseConnection()
        else:
            request.channel.abort()

    def _own_fields(self, log_id: str, step: int, cache_status: str) -> list[tuple[bytes, bytes]]:
        id_ = log_id.encode("ascii")
        return [
            (b"cf-aig-log-id", id_),
            (b"cf-aig-request-id", id_),
            (b"cf-aig-event-id", self._event_id.encode("utf-8", "replace") if self._event_id else id_),
            (b"cf-aig-step", b"%d" % step),
            (b"cf-aig-cache-status", cache_status.encode("ascii")),
        ]

    # Silence --------------------------------------------------------------------------------------------------------

    def _takes_comments(self, head: AnswerHead) -> bool:
        """Whether bytes of ours may stand between those of the provider."""
        plain = not any(name == b"content-encoding" for name, _ in head.headers)
        return plain and self._left is None and head.content_type.lower().startswith("text/event-stream")

    def _heartbeat(self) -> None:
        """Middle boxes cut connections on which nothing moves; a comment is nothing to an event stream's reader."""
        if self._silence is not None and not self._gone:
            if self._latest.endswith(_EVENT_ENDS) and not self._paused:
                self._request.write(HEARTBEAT)
            self._silence.reset(self._heartbeat_s)

    def _quiet(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # IPushProducer --------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client reads slowly."""
        if not self._paused:
            self._paused = True
            self._stalled = self._wheel.schedule(self._stalled_s, self._give_up)
            if self._exchange is not None:
                self._exchange.pause()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        if self._paused:
            self._paused = False
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            if self._exchange is not None:
                self._exchange.resume()

    def _give_up(self) -> None:
        """The client takes nothing, and holds a provider's connection meanwhile."""
        cast(Any, self._request.channel).abort()

    def stopProducing(self) -> None:
        """The connection is lost; the request tells of it, too."""


def _named(headers: Headers) -> frozenset[bytes]:
    """The headers that concern one connection because its `Connection` header says so."""
    values = [value.lower() for name, value in headers if name == b"connection"]
    return frozenset(token.strip() for token in b",".join(values).split(b",")) if values else frozenset()
