"""From the bytes of a connection to one answer: status, fields, body, and whether it is whole."""

from __future__ import annotations

import httptools

from aigw.errors import InvalidAnswer


class AnswerReader:
    """
    Reads one HTTP/1.1 answer after the other.

    The `on_...` methods are `httptools`' callbacks: they only collect, so that whoever feeds the reader can act on
    what came once the parser has returned.

    Args:
        head_bytes: Limit of a head, of trailers, and of anything else that is no body.
        head_fields: Limit of the number of fields in a head.
    Attributes:
        status: HTTP status, once `head_complete`; interim answers (1xx) are passed over.
        phrase: What the status line says beside it.
        fields: Names in lower case; without trailers.
        pieces: Pieces of the body, which the caller takes out.
        head_complete, complete: How far the answer has come.
        keep_alive: Once `complete`, whether the connection may serve again.
        surplus: Whether more came than the answer that was asked for.
    """

    def __init__(self, head_bytes: int, head_fields: int) -> None:
        self._head_bytes = head_bytes
        self._head_fields = head_fields
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = False
        self.expect(bodiless=False)

    def expect(self, bodiless: bool) -> None:
        """
        Be ready for the next answer.

        Args:
            bodiless: Whether it has no body whatever its head says, as after HEAD.
        """
        if self._bodiless:
            # The parser cannot be told: it still waits for a body.
            self._parser = httptools.HttpResponseParser(self)
        self._bodiless = bodiless
        self.status = 0
        self.phrase = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.head_complete = self.complete = self.keep_alive = self.surplus = False
        self._seen_bytes = 0
        self._quiet_bytes = 0

    def feed(self, data: bytes) -> InvalidAnswer | None:
        """
        Parse what came.

        Returns:
            What is wrong with it; what was collected before that is still good. Bytes behind a complete answer are
            no error of that answer: see `surplus`.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.complete:
                return InvalidAnswer()
            self.surplus = True
        if self._seen_bytes > self._head_bytes or len(self.fields) > self._head_fields:
            return InvalidAnswer("its head is too large")
        if not self.pieces and not self.complete:
            # The parser keeps an unfinished line for itself, however long it grows.
            self._quiet_bytes += len(data)
            if self._quiet_bytes > self._head_bytes:
                return InvalidAnswer("its head is too large")
        else:
            self._quiet_bytes = 0
        return None

    @property
    def close_delimited(self) -> bool:
        """Whether only the connection's end marks the body's."""
        return not any(
            name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in self.fields
        )

    # Called by httptools ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True
        else:
            self.phrase = b""

    def on_status(self, piece: bytes) -> None:
        if not self.complete:
            self.phrase += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._seen_bytes += len(name) + len(value) + 4
        if not self.head_complete:
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.head_complete or status < 200:
            return
        self.status = status
        self.head_complete = True
        if self._bodiless:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            self.surplus = True
        else:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if not self.head_complete:
            self.fields.clear()
        elif not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()
