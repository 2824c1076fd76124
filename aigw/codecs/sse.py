"""
Server-sent events, read along while their bytes pass through.

Follows "9.2.6 Interpreting an event stream" of the HTML standard, with two differences: an event without a name has
the name `b""` (not `message`), and nothing is decoded from UTF-8, since the bytes go on to the client as they are.
"""

from __future__ import annotations

import msgspec

from aigw.errors import ResponseTooLarge

_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """
    One event.

    Attributes:
        name: Of its `event:` line, empty without one.
        data: Its `data:` lines, joined by LF.
        id: The stream's last `id:` up to here, empty without one.
    """

    name: bytes
    data: bytes
    id: bytes = b""


class SSEParser:
    """
    Cuts an event stream into events, wherever its chunks happen to be split.

    Args:
        max_event_bytes: Most bytes that one line, or the data of one event, may have.
    """

    __slots__ = ("_bytes", "_clean", "_data", "_head", "_id", "_line", "_line_bytes", "_max", "_name", "_skip_lf")

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        # Bytes held back at the very start, while they may still become a byte order mark; None once that is settled.
        self._head: bytes | None = b""
        # The pieces of a line whose end has not come yet. A list, so that a long line is joined once.
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._skip_lf = False
        # The event that is open.
        self._name = b""
        self._data: list[bytes] = []
        self._bytes = 0
        self._id = b""
        # True between two events, when nothing at all is open: the state in which nearly every chunk arrives.
        self._clean = False

    @property
    def pending(self) -> bool:
        """Whether an event or a line has begun and not ended."""
        return bool(self._head or self._line or self._data or self._name)

    def feed(self, chunk: bytes) -> list[Event]:
        """
        Take the next bytes of the stream.

        Args:
            chunk: Of any length.
        Returns:
            The events that these bytes completed, in order.
        Raises:
            ResponseTooLarge: A line or an event has grown beyond `max_event_bytes`. The parser is then of no more use.
        """
        # Most providers send each event as one chunk of one `data:` line.
        if (
            self._clean
            and chunk[:6] == b"data: "
            and chunk[-2:] == b"\n\n"
            and 8 < len(chunk) <= self._max
            and chunk.find(b"\n", 6, -2) < 0
            and b"\r" not in chunk
        ):
            return [Event(b"", chunk[6:-2], self._id)]
        if self._head is not None:
            chunk = self._without_bom(self._head + chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        return self._lines(chunk) if chunk else []

    def end(self) -> list[Event]:
        """
        The stream is over: what an event holds whose blank line never came.

        Some servers leave out the blank line behind their last event; whether it is whole is for others to judge.
        """
        return self.feed(b"\n\n") if self.pending else []

    def _without_bom(self, start: bytes) -> bytes:
        """The stream's first bytes without their byte order mark; nothing while that is undecided."""
        if len(start) < 3 and _BOM.startswith(start):
            self._head = start
            return b""
        self._head = None
        return start.removeprefix(_BOM)

    def _lines(self, chunk: bytes) -> list[Event]:
        """Split a chunk at its line ends, keep the unfinished rest, and take the lines one by one."""
        if b"\r" in chunk:
            # A CR at the end is a line end now; should an LF follow in the next chunk, it belongs to this CR.
            self._skip_lf = chunk[-1:] == b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._line:
            self._line.append(lines[0])
            lines[0] = b"".join(self._line)
            self._line = []
            self._line_bytes = 0
        events: list[Event] = []
        for line in lines:
            self._take(line, events)
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
            if self._line_bytes > self._max:
                raise ResponseTooLarge
        self._clean = not (rest or self._line or self._data or self._name or self._skip_lf)
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        """Act on one whole line; a blank one completes the open event."""
        if not line:
            if self._data:
                events.append(Event(self._name, b"\n".join(self._data), self._id))
                self._data = []
                self._bytes = 0
            self._name = b""
            return
        if len(line) > self._max:
            raise ResponseTooLarge
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            self._data.append(value)
            self._bytes += len(value) + 1
            if self._bytes > self._max:
                raise ResponseTooLarge
        elif field == b"event":
            self._name = value
        elif field == b"id" and b"\0" not in value:
            self._id = value
        # Comments (an empty field name), `retry` and unknown fields say nothing that concerns a gateway.
