"""An answer out of the cache, told as a provider would tell it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from aigw.codecs.sse import Event, SSEParser
from aigw.dispatch.plan import EventParser
from aigw.errors import InternalError
from aigw.interfaces import IUpstreamCall
from aigw.values.cached import CachedAnswer
from aigw.values.step import Headers
from aigw.values.usage import Usage

# Events that are told before others get their turn: about half a millisecond of work.
EVENTS_A_TURN = 32

_EVENT_STREAM = b"text/event-stream"
# A blank line, whatever a line ends with. Atomic: the CR of a CRLF is no line end of its own.
_BLANK = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_BLANKS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class StoredReader:
    """
    Reads along in an answer out of the cache. Whose dialect it has does not matter: what it used is known already, and
    only whole answers are kept.

    Args:
        answer: See there.

    Attributes:
        usage, model: Of the call that made the answer.
        terminal: Whether what comes next completes the answer.
        error: Always empty.
    """

    __slots__ = ("error", "model", "terminal", "usage")

    def __init__(self, answer: CachedAnswer) -> None:
        self.usage = answer.usage
        self.model = answer.model
        self.terminal = False
        self.error = ""

    def parser(self, content_type: str, max_event_bytes: int) -> EventParser | None:
        """See `aigw.dispatch.plan.Reader`, as for all below."""
        streams = content_type.lower().startswith(_EVENT_STREAM.decode())
        return SSEParser(max_event_bytes) if streams else None

    def head(self, headers: Headers) -> None:
        """Says nothing that is not known."""

    def event(self, event: Event) -> None:
        """Says nothing that is not known."""

    def body(self, data: bytes) -> None:
        """Says nothing that is not known."""
        self.terminal = True

    def estimate(self, request_body: bytes) -> Usage | None:
        """No guess is needed."""
        return self.usage


@implementer(IUpstreamCall)
class Replay:
    """
    Tells a kept answer to a receiver. Nothing is told before `begin`; an answer that is no stream is told within it.

    Args:
        answer: See there.
        receiver: An `IUpstreamReceiver`.
        reader: Of the same answer: told when the last piece comes.
        at_once: Whether a stream is told without regard to its events.
        turn: Calls back in a later turn of the reactor.
    """

    _log = Logger()

    __slots__ = (
        "_answer",
        "_begun",
        "_over",
        "_paused",
        "_piece",
        "_pieces",
        "_reader",
        "_receiver",
        "_telling",
        "_turn",
        "_waiting",
    )

    def __init__(
        self,
        answer: CachedAnswer,
        receiver: Any,
        reader: StoredReader,
        at_once: bool,
        turn: Callable[[Callable[[], None]], object],
    ) -> None:
        # None once its head was told.
        self._answer: CachedAnswer | None = answer
        self._receiver = receiver
        self._reader = reader
        self._turn = turn
        self._pieces = _pieces(answer, at_once)
        # The next one; None behind the last.
        self._piece = next(self._pieces, None)
        self._begun = False
        self._paused = False
        self._over = False
        self._telling = False
        # Whether a later turn goes on.
        self._waiting = False

    def begin(self) -> None:
        """Tell the head, and as much of the body as a turn allows; once the receiver's owner is ready for it."""
        self._go_on()

    def pause(self) -> None:
        """See `IUpstreamCall`."""
        self._paused = True

    def resume(self) -> None:
        """See `IUpstreamCall`."""
        if self._paused:
            self._paused = False
            if self._begun and not self._waiting:
                self._go_on()

    def stop(self) -> None:
        """See `IUpstreamCall`."""
        self._over = True

    def _next_turn(self) -> None:
        self._waiting = False
        self._go_on()

    def _go_on(self) -> None:
        # A receiver may pause and resume within what it is told.
        if self._telling:
            return
        self._begun = self._telling = True
        try:
            self._tell()
        except Exception:
            # Raised here it would reach whoever wakes this up, and the client would wait for ever.
            self._log.failure("A receiver failed in the middle of a cached answer")
            self._fail()
        finally:
            self._telling = False

    def _tell(self) -> None:
        answer, receiver = self._answer, self._receiver
        if answer is not None and not self._paused and not self._over:
            self._answer = None
            receiver.head(answer.status, answer.headers)
        for _ in range(EVENTS_A_TURN):
            if self._paused or self._over:
                return
            piece = self._piece
            if piece is None:
                self._over = True
                receiver.completed()
                return
            self._piece = next(self._pieces, None)
            if self._piece is None:
                self._reader.terminal = True
            receiver.data(piece)
        if not self._paused and not self._over:
            self._waiting = True
            self._turn(self._next_turn)

    def _fail(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._receiver.failed(InternalError())
        except Exception:
            # As above.
            self._log.failure("A receiver failed at the end of a cached answer")


def _pieces(answer: CachedAnswer, at_once: bool) -> Iterator[bytes]:
    """The body, in the pieces in which it is told."""
    body = answer.body
    if any(name == b"content-type" and value.lower().startswith(_EVENT_STREAM) for name, value in answer.headers):
        return _two_pieces(body) if at_once else _events(body)
    return iter((body,) if body else ())


def _events(body: bytes) -> Iterator[bytes]:
    """Each event, with the blank line that ends it."""
    start = 0
    for blank in _BLANK.finditer(body):
        yield body[start : blank.end()]
        start = blank.end()
    if start < len(body):
        yield body[start:]


def _two_pieces(body: bytes) -> Iterator[bytes]:
    """Everything but the last event, then that one: the end mark may have to wait until the record is safe."""
    content = len(body.rstrip(b"\r\n"))
    ends = [at + len(blank) for blank in _BLANKS if (at := body.rfind(blank, 0, content)) >= 0]
    start = max(ends, default=0)
    if start:
        yield body[:start]
    if start < len(body):
        yield body[start:]
