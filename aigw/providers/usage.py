"""Reading along in answers: what every family's reader shares."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from aigw.codecs.sse import Event, SSEParser
from aigw.providers.request import request_text_bytes
from aigw.values.record import TEXT_CHARS
from aigw.values.step import Headers
from aigw.values.usage import Usage

# No answer of today comes near it; a larger number is a vendor's mistake.
MAX_TOKENS = 1_000_000_000

# The rule of thumb for English text. Tokenizers would be exact, but are slow on hostile text and differ by model.
BYTES_PER_TOKEN = 4


class EventParser(Protocol):
    """Cuts the bytes of a stream into events."""

    def feed(self, chunk: bytes) -> list[Event]:
        """
        The events that these bytes completed.

        Raises:
            ProviderFailed: The stream is malformed, or one event too large.
        """

    def end(self) -> list[Event]:
        """
        What the end of the stream completes.

        Raises:
            TruncatedStream: It ended within an event.
        """


class AnswerReader:
    """
    Reads one answer as it passes: `event` for each event of a stream, or `body` once for any other answer.

    Nothing a vendor sends makes it raise; what cannot be understood is passed over.

    Attributes:
        usage: What the vendor told, None until then.
        model: As the vendor names it, empty until then.
        terminal: Whether the answer has shown its own end: the family's end mark (an error event is one), or a whole
            JSON document. Families without an end mark leave the end to the framing and say True.
        error: The vendor's text of an error inside the answer, empty without one.
        text_bytes: Length of the answer's text so far, for an estimate.
    """

    family: ClassVar[str]

    __slots__ = ("error", "model", "terminal", "text_bytes", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.terminal = False
        self.error = ""
        self.text_bytes = 0

    def parser(self, content_type: str, max_event_bytes: int) -> EventParser | None:
        """
        What cuts an answer into events.

        Args:
            content_type: Of the answer.
            max_event_bytes: Most bytes of one event.
        Returns:
            None for an answer that is no stream of events.
        """
        return SSEParser(max_event_bytes) if content_type[:17].lower() == "text/event-stream" else None

    def head(self, headers: Headers) -> None:
        """Look at the answer's header fields; few vendors tell anything there."""

    def event(self, event: Event) -> None:
        """Take the next event of a stream."""
        raise NotImplementedError

    def body(self, data: bytes) -> None:
        """Take a whole answer that is no stream; anything but JSON is passed over."""
        raise NotImplementedError

    def estimate(self, request_body: bytes) -> Usage | None:
        """
        Guess the usage of a stream whose vendor told none, or not all.

        Args:
            request_body: As it was sent.
        Returns:
            `usage`, which is set to the guess; None when the answer had no text to guess by.
        """
        if self.usage is None and self.text_bytes:
            self.usage = Usage(
                tokens_in=tokens_of(request_text_bytes(request_body)),
                tokens_out=tokens_of(self.text_bytes),
                estimated=True,
            )
        return self.usage

    def _fail(self, told: object) -> None:
        """Note an error of the vendor; it ends the answer."""
        if told:
            self.error = error_text(told)
            self.terminal = True


def text(told: object) -> str:
    """A name that a vendor told, cut to what the log keeps; empty when it is no text."""
    return told[:TEXT_CHARS] if isinstance(told, str) else ""


def error_text(told: object) -> str:
    """The words of a vendor's error, which is a text or an object with one of a few usual names in it."""
    if isinstance(told, dict):
        words = next((told[name] for name in ("message", "detail", "code", "type") if told.get(name)), "")
    else:
        words = told
    return str(words)[:TEXT_CHARS] if isinstance(words, (str, int)) and words else "error"


def count(told: object) -> int | None:
    """A number of tokens out of a vendor's JSON; None when it is none that makes sense."""
    if type(told) is int and 0 <= told <= MAX_TOKENS:
        return told
    # Cohere writes 12.0; True is an int to Python.
    if isinstance(told, float) and told == told // 1:
        told = int(told)
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= MAX_TOKENS:
        return told
    return None


def first_count(told: object, *names: str) -> int | None:
    """The first sensible count among the named members of an object."""
    if isinstance(told, dict):
        for name in names:
            found = count(told.get(name))
            if found is not None:
                return found
    return None


def usage_of(tokens_in: int | None, tokens_out: int | None, cache_read: int = 0, cache_write: int = 0) -> Usage | None:
    """A usage out of counts as vendors tell them; None when both sides are missing. Parts never exceed the whole."""
    if tokens_in is None and tokens_out is None:
        return None
    whole = tokens_in or 0
    read = min(cache_read, whole)
    return Usage(whole, tokens_out or 0, read, min(cache_write, whole - read))


def member(told: object, name: str) -> Any:
    """A member of an object, None when there is none or it is no object."""
    return told.get(name) if isinstance(told, dict) else None


def tokens_of(text_bytes: int) -> int:
    """The guess for a text of so many bytes of UTF-8; at least one token."""
    return max(1, -(-text_bytes // BYTES_PER_TOKEN))
