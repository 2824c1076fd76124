"""The universal WebSocket: any number of requests to any provider, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import implementer

from aigw.codecs.sse import Event
from aigw.controls.authentication import Caller
from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.exchange import Exchange, State
from aigw.dispatch.opening import Opening
from aigw.errors import ClientGone, DuplicateEventId, GatewayError, TooManyInFlight
from aigw.interfaces import IReply
from aigw.serving.limits import SocketLimits
from aigw.serving.outbox import OutStream
from aigw.serving.websocket import CLOSE_GOING_AWAY, CLOSE_POLICY, GatewaySocket, ISocketApplication
from aigw.values.step import Step
from aigw.wire import messages
from aigw.wire.entry import Entry
from aigw.wire.envelope import read_message

REQUEST_TYPE = "websocket"


@implementer(IReply)
class UniversalReply:
    """
    Words one exchange's answer as messages.

    Args:
        session: Of the connection.
        event_id: The client's, or None when it gave none; then the log id stands in.
        stream: The exchange's place in the outbox.
    """

    wants_whole = True
    # `universal.done` tells the end.
    holds_end = False
    # For each of a thousand messages a second it would be noise; a refusal tells them.
    tells_limits = False

    __slots__ = ("_event_id", "_head", "_key", "_prefix", "_session", "_stream")

    def __init__(self, session: UniversalSession, event_id: str, key: object, stream: OutStream) -> None:
        self._session = session
        self._event_id = event_id
        self._key = key
        self._stream = stream
        self._head: AnswerHead | None = None
        self._prefix = b""

    def head(self, head: AnswerHead) -> None:
        """A stream begins."""
        self._head = head
        event_id = self._event_id or head.log_id
        self._prefix = messages.stream_prefix(event_id)
        self._stream.put(messages.created(messages.metadata(event_id, head)))

    def body(self, chunk: bytes, events: Sequence[Event]) -> None:
        """Pieces of a stream; the provider's end mark is told by `universal.done` instead."""
        for event in events:
            if event.data != messages.DONE:
                self._stream.put(messages.stream_piece(self._prefix, event.data))

    def finish(self, outcome: Outcome) -> None:
        """The terminal message: the exchange's record is safe by now."""
        try:
            self._stream.put(self._last_message(outcome))
        finally:
            self._session.over(self._key)

    def _last_message(self, outcome: Outcome) -> bytes:
        event_id = self._event_id or outcome.log_id
        if self._head is not None:
            return messages.done(event_id, self._head, outcome)
        if outcome.error is not None or outcome.head is None:
            return messages.failure(event_id, outcome)
        return messages.whole(event_id, outcome.head, outcome.body)


def _event_id_header(steps: Sequence[Step]) -> str:
    """What the log calls a request whose message has no `eventId`."""
    return steps[0].settings.get(b"cf-aig-event-id", b"").decode("utf-8", "replace") if steps else ""


@implementer(ISocketApplication)
class UniversalSession:
    """
    One client's connection.

    Args:
        dispatcher: Takes the requests.
        limits: See there.
        entry: Who calls which gateway, from the upgrade.
        subprotocol: To select.
        gone: Called once with the session, when the connection is gone.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: SocketLimits,
        entry: Entry,
        subprotocol: str | None,
        gone: Callable[[UniversalSession], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._entry = entry
        self._gone = gone
        self._exchanges: dict[object, Exchange] = {}
        self._socket: GatewaySocket | None = None
        # How to close once nothing runs here any more; None while more requests are taken.
        self._farewell: tuple[int, str] | None = None
        self.subprotocol = subprotocol

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self._entry.caller

    def opened(self, socket: GatewaySocket) -> None:
        """The handshake is done."""
        self._socket = socket

    def message(self, payload: bytes, binary: bool) -> None:
        """
        One request. A binary frame is read like a text frame: some libraries send bytes so, and the JSON in it is
        the same.
        """
        assert self._socket is not None  # noqa: S101  # messages come after `opened`
        refusal = self._renew()
        envelope = read_message(payload, self._entry.held, self._limits.steps, self._limits.event_id_chars)
        refusal = refusal or envelope.refusal
        if refusal is None and len(self._exchanges) >= self._limits.in_flight:
            refusal = TooManyInFlight()
        key: object = envelope.event_id or object()
        if key in self._exchanges:
            # The first one keeps its id; this one is known by an id of its own.
            refusal, key = refusal or DuplicateEventId(), object()
        steps = envelope.steps
        opening = Opening(
            gateway=self._entry.gateway,
            caller=self._entry.caller,
            user_agent=self._entry.user_agent,
            request_type=REQUEST_TYPE,
            event_id=envelope.event_id or _event_id_header(steps),
            steps=steps,
            settings=steps[0].settings if steps else self._entry.settings,
            country=self._entry.country,
            refusal=refusal,
        )
        reply = UniversalReply(self, envelope.event_id, key, self._socket.outbox.stream())
        exchange = self._dispatcher.open(opening, reply)
        if exchange.state is not State.OVER:
            self._exchanges[key] = exchange
            if self._socket.outbox.paused:
                exchange.pause()

    def _renew(self) -> GatewayError | None:
        """Take settings and bounds as they are now; why the caller may make no request any more."""
        try:
            self._entry.renew()
        except GatewayError as error:
            # Expired since the upgrade, bound otherwise, or the gateway is gone; a revoked one has closed the socket.
            self._farewell = (CLOSE_POLICY, error.detail or error.text)
            return error
        return None

    def over(self, key: object) -> None:
        """An exchange has sent its terminal message."""
        self._exchanges.pop(key, None)
        self._close_when_drained()

    def pause(self) -> None:
        """The client reads slowly: its providers stop, and only its own."""
        for exchange in list(self._exchanges.values()):
            exchange.pause()

    def resume(self) -> None:
        """The client has caught up."""
        for exchange in list(self._exchanges.values()):
            exchange.resume()

    def drain(self) -> None:
        """Close as soon as nothing runs here any more."""
        self._farewell = (CLOSE_GOING_AWAY, "the gateway is stopping")
        self._close_when_drained()

    def _close_when_drained(self) -> None:
        if self._farewell is not None and not self._exchanges:
            self.close(*self._farewell)

    def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close(code, reason)

    def revoke(self) -> None:
        """The token that opened the connection is good for nothing any more."""
        self.close(CLOSE_POLICY, "the token was revoked")

    def left(self) -> None:
        """The client has left: so do its providers."""
        for exchange in list(self._exchanges.values()):
            exchange.abandon(ClientGone())

    def closed(self) -> None:
        """The connection is gone."""
        self._gone(self)
