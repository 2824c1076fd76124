"""How one attempt's answer is read: decoded, cut into events, held where it must be, and kept for the log."""

from __future__ import annotations

from aigw.codecs.content_coding import ContentDecoder, coding_of
from aigw.codecs.json_text import is_json
from aigw.dispatch.answer import AnswerHead
from aigw.dispatch.capture import Capture
from aigw.dispatch.plan import EventParser, Reader
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import GatewayError, InvalidAnswer, ProviderFailed, ResponseTooLarge, TruncatedStream
from aigw.interfaces import IReply
from aigw.values.step import Headers

# A coding that is not known here.
_OTHER = "other"


class Reading:
    """
    Hands an answer on to the client's side as it comes, or holds it until it is whole.

    Args:
        reader: Reads along, for usage and the end mark.
        reply: The client's side.
        settings: Bounds.

    Attributes:
        head: None until the answer has begun in a form that can be used.
        capture: What the log keeps of the answer.
        held_back: Whether nothing of the answer reaches the client before it is whole.
        body: The whole answer, once it is complete and was held.
        whole: Whether the answer has come to its end, also when it says of itself that it failed.
    """

    __slots__ = (
        "_coding",
        "_decoder",
        "_event_bytes",
        "_events",
        "_held",
        "_holds_end",
        "_plain",
        "_reader",
        "_reply",
        "_response_bytes",
        "_tail",
        "_tail_bytes",
        "body",
        "capture",
        "head",
        "held_back",
        "whole",
    )

    def __init__(self, reader: Reader, reply: IReply, settings: DispatchSettings) -> None:
        self.head: AnswerHead | None = None
        self.capture = Capture(settings.log_body_bytes)
        self.held_back = False
        self.body = b""
        # The answer out of the coding in which it passed, once it has ended.
        self._plain: bytes | None = None
        self.whole = False
        self._reader = reader
        self._reply = reply
        self._response_bytes = settings.response_bytes
        self._event_bytes = settings.event_bytes
        # Of an answer that passes as it is; a name that nobody knows is one, too.
        self._coding = ""
        self._decoder: ContentDecoder | None = None
        self._events: EventParser | None = None
        self._held: list[bytes] = []
        # The stream's bytes from its end mark on, where the reply holds them back.
        self._holds_end = False
        self._tail: list[bytes] = []
        self._tail_bytes = 0

    def begin(
        self, log_id: str, step: int, status: int, headers: Headers, cache_status: str = "MISS", own: Headers = ()
    ) -> AnswerHead:
        """
        The answer's head has come.

        Args:
            log_id: Of the exchange.
            step: Index of the step that answers.
            status: HTTP status.
            headers: As received, names in lower case.
            cache_status, own: See `AnswerHead`.
        Returns:
            What the client is told, unless it is `held_back`.
        Raises:
            GatewayError: The answer has a coding that cannot be undone.
        """
        if self._reply.wants_whole:
            headers = self._decode(headers)
        else:
            self._coding = _coding(headers)
        content_type = _content_type(headers)
        self._reader.head(headers)
        # What passes in a coding cannot be read along; its beginning is read at the end.
        self._events = None if self._coding else self._reader.parser(content_type, self._event_bytes)
        streaming = self._events is not None
        # Without an end mark of its own a stream ends with its framing, and nothing of it is held.
        self._holds_end = self._reply.holds_end and not self._reader.terminal
        self.held_back = not streaming and bool(self._reply.wants_whole)
        self.head = AnswerHead(log_id, step, status, content_type, headers, streaming, cache_status, own)
        return self.head

    def _decode(self, headers: Headers) -> Headers:
        """Undo a coding that nobody asked for: what is taken apart for messages must be plain."""
        coding = coding_of(headers)
        if not coding:
            return headers
        self._decoder = ContentDecoder(coding, self._response_bytes)
        return tuple(field for field in headers if field[0] not in (b"content-encoding", b"content-length"))

    def feed(self, chunk: bytes) -> None:
        """
        More of the answer.

        Raises:
            GatewayError: It is larger than can be held, or no answer of its kind.
        """
        if self._decoder is not None:
            chunk = self._decoder.feed(chunk)
        self.capture.add(chunk)
        if self._events is not None:
            events = self._events.feed(chunk)
            reader = self._reader
            for event in events:
                reader.event(event)
            if self._holds_end and (reader.terminal or self._tail):
                self._keep_end(chunk)
            else:
                self._reply.body(chunk, events)
        elif self.held_back:
            self._held.append(chunk)
            if self.capture.total_bytes > self._response_bytes:
                raise ResponseTooLarge()
        else:
            self._reply.body(chunk, ())

    def take(self, body: bytes) -> None:
        """A whole answer from the cache, which was read when it was stored; stands for `feed` and `end`."""
        self.capture.add(body)
        self.whole = True
        if self.held_back:
            self.body = body
        else:
            self._reply.body(body, ())

    def _keep_end(self, chunk: bytes) -> None:
        """The end mark completes the answer, so it leaves behind the record; hardly anything comes behind it."""
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        if self._tail_bytes > self._event_bytes:
            raise ResponseTooLarge()

    def end(self) -> None:
        """
        The body has ended; look for the end mark of the answer itself.

        Raises:
            TruncatedStream: There is none.
            ProviderFailed: The answer is whole, and says of itself that it failed.
        """
        if self._decoder is not None and not self._decoder.finished:
            raise TruncatedStream()
        if self._events is not None:
            self._last_event(self._events)
            if not self._reader.terminal:
                raise TruncatedStream()
            self.whole = True
            if self._reader.error:
                raise ProviderFailed("it reported an error within its stream")
            return
        self.whole = True
        if self._coding:
            self._read_copy()
            return
        body = b"".join(self._held)
        self._reader.body(body or self.capture.body())
        # A body that ends with its connection may be cut anywhere.
        if body and not self._reader.terminal and self._promises_json and not is_json(body):
            self.whole = False
            raise TruncatedStream()
        self.body = body
        self._held.clear()

    def _read_copy(self) -> None:
        """Look for usage in what is kept of an answer that passed in a coding; that it cannot be read harms nobody."""
        head = self.head
        if self._coding == _OTHER:
            return
        try:
            plain = ContentDecoder(self._coding, self._response_bytes).feed(self.capture.body())
            parser = self._reader.parser(head.content_type if head else "", self._event_bytes)
            for event in parser.feed(plain) if parser is not None else ():
                self._reader.event(event)
        except GatewayError:
            return
        if parser is None:
            self._reader.body(plain)
        self._plain = plain

    @property
    def kept_body(self) -> bytes:
        """What the log keeps of the answer, out of its coding where that could be undone."""
        return self.capture.body() if self._plain is None else self._plain[: self.capture.limit_bytes]

    @property
    def kept_in_part(self) -> bool:
        """Whether the log keeps less than the whole."""
        return self.capture.cut or len(self._plain or b"") > self.capture.limit_bytes

    @property
    def _promises_json(self) -> bool:
        head = self.head
        if head is None or head.status >= 400 or head.content_type.partition(";")[0].strip() != "application/json":
            return False
        # With a length, or chunk by chunk, the framing itself tells where the body ends.
        return not any(name in (b"content-length", b"transfer-encoding") for name, _ in head.headers)

    def _last_event(self, parser: EventParser) -> None:
        """Some servers leave out the blank line behind their last event; half an event is none."""
        whole = [event for event in parser.end() if event.data == b"[DONE]" or is_json(event.data)]
        for event in whole:
            self._reader.event(event)
        if whole:
            self._reply.body(b"", whole)

    def tail(self) -> bytes:
        """The stream from its end mark on, for a reply that holds the end back."""
        return b"".join(self._tail)


def _content_type(headers: Headers) -> str:
    for name, value in headers:
        if name == b"content-type":
            return value.decode("latin-1")
    return ""


def _coding(headers: Headers) -> str:
    try:
        return coding_of(headers)
    except InvalidAnswer:
        return _OTHER
