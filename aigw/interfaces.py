"""The seams: what rooms ask of each other, and what a fake or an outsider may fill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from aigw.errors import GatewayError
from aigw.values.cached import CachedAnswer
from aigw.values.counting import Charge, Correction, Verdict
from aigw.values.document import Stored
from aigw.values.outbound import OutboundAnswer
from aigw.values.realtime import RealtimeRequest
from aigw.values.record import Begin, End
from aigw.values.step import Headers, UpstreamRequest

T = TypeVar("T")


class IUpstreamReceiver(Interface):
    """Told what comes back from a provider. Exactly one of `completed` and `failed` is called, last, unless stopped."""

    def resent() -> None:
        """
        The request went out once more, on a new connection: a kept one had been given up by the provider. Told before
        `head`, also while the call is paused.
        """

    def head(status: int, headers: Headers) -> None:
        """
        The answer has begun.

        Args:
            status: HTTP status; never 1xx.
            headers: As received, names in lower case.
        """

    def data(chunk: bytes) -> None:
        """Bytes of the answer's body, transfer coding removed, content coding left as it is."""

    def completed() -> None:
        """The body ended as its framing promised (or, close-delimited, with the connection)."""

    def failed(error: GatewayError) -> None:
        """
        There is no answer, or no more of it.

        Args:
            error: A `ProviderFailed`, or what a streamed body failed with; its text names no host's secret.
        """


class IUpstreamCall(Interface):
    """A call under way. Every method may be called at any moment, any number of times; none raises."""

    def pause() -> None:
        """Take no more bytes from the provider; the idle and first-byte clocks stand still."""

    def resume() -> None:
        """Go on after `pause`."""

    def stop() -> None:
        """Close the connection to the provider now. The receiver hears nothing more."""


class IUpstream(Interface):
    """How bytes reach providers."""

    def send(request: UpstreamRequest, receiver: Any) -> Any:
        """
        Start a call.

        Args:
            request: Ready to be sent.
            receiver: An `IUpstreamReceiver`; it is never called before `send` has returned.
        Returns:
            An `IUpstreamCall`.
        """


class IRealtimeReceiver(Interface):
    """
    Told what comes from a provider's WebSocket. `accepted` or `refused` or `failed` is called first; after `accepted`,
    exactly one of `closed` and `failed` is called, last, unless the socket was closed or stopped from this side.
    """

    def accepted(subprotocol: str | None) -> None:
        """The socket is open; the provider chose this one of the subprotocols."""

    def refused(status: int, headers: Headers, body: bytes) -> None:
        """
        The provider gave an HTTP answer instead of a WebSocket. Nothing more is called.

        Args:
            status: HTTP status, never 1xx.
            headers: As received, names in lower case.
            body: The beginning of the answer's body.
        """

    def message(payload: bytes, binary: bool) -> None:
        """A whole message. Text is not yet known to be UTF-8."""

    def pause() -> None:
        """The provider reads slowly: send nothing more for now."""

    def resume() -> None:
        """The provider has caught up."""

    def closed(code: int | None, reason: str) -> None:
        """
        The provider has closed the socket in good order.

        Args:
            code: Of its close frame, None when that held none.
            reason: As the provider worded it.
        """

    def failed(error: GatewayError) -> None:
        """There is no socket, or no more of it; `error` is a `ProviderFailed`."""


class IRealtimeSocket(Interface):
    """A WebSocket to a provider. Every method may be called at any moment, any number of times; none raises."""

    def send(payload: bytes, binary: bool) -> None:
        """Send a message; goes nowhere unless the socket is open."""

    def pause() -> None:
        """Take no more messages from the provider."""

    def resume() -> None:
        """Go on after `pause`."""

    def close(code: int | None, reason: str) -> None:
        """Close now, in good order where the provider plays along. The receiver hears nothing more."""


class IRealtimeUpstream(Interface):
    """How WebSockets to providers are opened."""

    def connect(request: RealtimeRequest, receiver: Any) -> Any:
        """
        Open a socket.

        Args:
            request: Ready to be sent.
            receiver: An `IRealtimeReceiver`; it is never called before `connect` has returned.
        Returns:
            An `IRealtimeSocket`.
        """


class ICredentials(Interface):
    """The credential of one request, where it must be made first: a signature, or a token that is fetched."""

    def prepare(request: UpstreamRequest) -> UpstreamRequest | Deferred[UpstreamRequest]:
        """
        Put the credential into a request. Asked anew for each attempt, since signatures and tokens grow old.

        Args:
            request: As it would be sent without.
        Returns:
            The request as it is to be sent; or a Deferred of it, which has not fired yet and may be cancelled, when
            somebody must be asked first. It fails with a `GatewayError` whose text names no secret.
        Raises:
            GatewayError: There can be no credential.
        """


class IOutboundHTTP(Interface):
    """For whoever must call out and is no provider's request: small answers, held whole. Follows no redirect."""

    def request(
        method: bytes,
        url: bytes,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_bytes: int = 65_536,
    ) -> Deferred[OutboundAnswer]:
        """
        Ask, and wait for the whole answer.

        Args:
            method: Upper case.
            url: Absolute, percent-encoded; never a client's word, since it may lead to a private address.
            headers: Complete but for Host and Content-Length; names in lower case.
            body: As it goes on the wire.
            timeout_s: For everything, from the call to the answer's end.
            answer_bytes: Most bytes of an answer's body.
        Returns:
            The answer, whatever its status; cancelling closes the connection.
        Raises:
            ProviderFailed: There is no answer, or it is too large or too late.
        """


class ILogSink(Interface):
    """Where records are made safe: the spool, or a list in memory."""

    def begin(record: Begin, safe: Callable[[], None]) -> None:
        """
        Write that an exchange has opened; room for its `End` is reserved with it.

        Args:
            record: See there.
            safe: Called once, in a later turn of the reactor, when the record is written.
        Raises:
            SpoolFull: There is no room, or the disk refuses; nothing was written and `safe` will not be called.
        """

    def end(record: End, safe: Callable[[], None]) -> None:
        """
        Write that an exchange is over. Never refuses: without room, its bodies are dropped and counted.

        Args:
            record: See there.
            safe: Called once, in a later turn, when the record is as durable as the settings ask.
        """

    def alone(record: End, safe: Callable[[], None]) -> None:
        """
        Write the record of an exchange that asked no provider, and so has no `Begin`: refused, or out of the cache.

        Args:
            record: See there.
            safe: As for `end`.
        Raises:
            SpoolFull: As `begin`.
        """

    accepting = Attribute("False while `begin` and `alone` would raise SpoolFull.")


class IDatabase(Interface):
    """PostgreSQL, reached without ever blocking the reactor. Statements use psycopg2's `%s` parameters."""

    available = Attribute("True while the last thing that happened was an answer.")

    def query(sql: str, parameters: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        """
        Run one statement.

        Returns:
            Its rows, empty for a statement that gives none.
        Raises:
            StorageUnavailable: No connection, or no answer in time. Whether it ran is then unknown.
            psycopg2.Error: The server refused it.
        """

    def transact(interaction: Callable[[Any], Awaitable[T]]) -> Deferred[T]:
        """
        Run a coroutine function inside one transaction: committed when it returns, rolled back when it raises.

        Args:
            interaction: Called with a cursor: `await cursor.execute(sql, parameters)`, `cursor.fetchall()`,
                `cursor.rowcount`.
        Raises:
            As `query`.
        """

    def when_available(call: Callable[[], None]) -> None:
        """Call back each time the database has come (back) into reach, after migrations are applied."""

    def listen(channel: str, heard: Callable[[str | None], None]) -> None:
        """
        Hear what is sent by NOTIFY.

        Args:
            channel: Lower-case letters and underscores.
            heard: Called with each payload; with None whenever some may have been missed.
        """


class IDocuments(Interface):
    """Named declarations of one kind, such as gateways: held in memory, kept where all processes find them."""

    known = Attribute("False until the copy on disk or the database was read: nobody knows yet what there is.")

    available = Attribute("False while nothing can be written.")

    def find(account: str, name: str) -> Stored[Any] | None:
        """The document of these names, or None. A look-up in memory."""

    def all() -> list[Stored[Any]]:
        """Every document that can be read, by account and name."""

    def on_changed(call: Callable[[str, str], None]) -> None:
        """Be called with account and name of each document that is new, changed or gone, whoever did it."""

    def compare() -> Awaitable[None]:
        """
        Take in now what others have written.

        Raises:
            StorageUnavailable: The database cannot be reached.
        """

    def put(
        account: str, name: str, document: Mapping[str, Any], expected_version: int | None = None
    ) -> Awaitable[Stored[Any]]:
        """
        Write a document.

        Args:
            account, name: Together its name.
            document: What JSON can hold.
            expected_version: What is replaced; 0: nothing must be there; None: whatever is there.
        Raises:
            ValueError: It is none of its kind.
            StorageUnavailable: The database cannot be reached; whether it was written is then unknown.
            AigwError: It conflicts with what is there, or cannot be stored.
        """

    def delete(account: str, name: str, expected_version: int | None = None) -> Awaitable[bool]:
        """
        Delete a document.

        Returns:
            Whether there was one, with that version.
        Raises:
            StorageUnavailable: The database cannot be reached; whether it was deleted is then unknown.
        """


class ICounters(Interface):
    """
    Counters that requests are held to. A store in this process answers at once, one that others share answers by a
    Deferred; whoever asks must take both.
    """

    available = Attribute("False while the store does not answer, or is still being built anew.")

    def take(charges: Sequence[Charge]) -> Verdict | Deferred[Verdict]:
        """
        Take all of these amounts, or none, as one step that no other caller comes between.

        Args:
            charges: No two with the same key and slot.
        Returns:
            What became of them; a Deferred may be cancelled, and what it had taken is then given back.
        Raises:
            StateUnavailable: (or the Deferred fails with it) The store gave no answer in time.
        """

    def settle(corrections: Sequence[Correction]) -> None:
        """
        Bring amounts that were taken to what they really were. Does not wait; while the store is away, a bounded number
        of corrections waits with it, and what is dropped is counted.
        """

    def read(charges: Sequence[Charge]) -> tuple[int, ...] | Deferred[tuple[int, ...]]:
        """
        What the slots of each charge hold together, nothing being taken. What this process has settled before is in it.

        Raises:
            StateUnavailable: As `take`.
        """


class ICacheStore(Interface):
    """Where answers are kept. As with counters, an answer comes at once or by a Deferred."""

    available = Attribute("False while the store does not answer.")

    def get(key: bytes, now_ms: int) -> CachedAnswer | Deferred[CachedAnswer | None] | None:
        """
        The answer under a key.

        Args:
            key: 32 bytes.
            now_ms: UTC, milliseconds since the epoch: what is kept no longer is not found.
        Raises:
            StateUnavailable: (or the Deferred fails with it) The store gave no answer in time.
        """

    def put(key: bytes, answer: CachedAnswer, kept_until_ms: int) -> None:
        """
        Keep an answer, in place of what was there. Does not wait; a full store drops it and counts that.

        Args:
            key: 32 bytes.
            answer: See there.
            kept_until_ms: UTC, milliseconds since the epoch; not before `answer.fresh_until_ms`.
        """

    def drop(key: bytes) -> None:
        """Forget an answer. Does not wait."""


class IReply(Interface):
    """
    The client's side of one exchange. `dispatch` calls it in this order: `head`, any number of `body`, `finish`;
    or `finish` alone. `finish` is called exactly once and only after the exchange's record is safe.
    """

    wants_whole = Attribute("True when an answer that is no stream comes only as `Outcome.body`, never by pieces.")

    tells_limits = Attribute("True when a good answer tells what its limits have left.")

    holds_end = Attribute("True when a stream's end mark is to come as `Outcome.tail`, behind the record.")

    def head(head: Any) -> None:
        """
        The answer that the client will see has begun.

        Args:
            head: An `aigw.dispatch.answer.AnswerHead`.
        """

    def body(chunk: bytes, events: Sequence[Any]) -> None:
        """
        A piece of the answer.

        Args:
            chunk: The bytes as they came.
            events: For an event stream, the `aigw.codecs.sse.Event`s that the chunk completed; else empty.
        """

    def finish(outcome: Any) -> None:
        """
        The answer is over.

        Args:
            outcome: An `aigw.dispatch.answer.Outcome`.
        """
