"""The head of a request, taken apart when it is whole; what two readers could understand in two ways is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, AnyStr

from aigw.errors import MalformedRequest, RequestTooLarge

# Every byte that may stand in a head, but for its line ends: no control byte but the tab.
TEXT = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# In a target the bytes beyond ASCII that twisted.web lets through, too: some clients do not escape what they ask for.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xb0]+) (HTTP/1\.[01])")
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=-]+(:\d{0,5})?|\[[0-9A-Fa-f:.]+\](:\d{0,5})?")
# Beyond any length that could be held or passed on; Python itself refuses to read numbers of thousands of digits.
_MOST_DIGITS = 18

# Names as they were sent, checked, and in lower case. There are few in the world, but a client may invent some.
_names: dict[bytes, bytes] = {}
_MOST_NAMES = 4_096


class RequestHeaders:
    """
    The headers of a request, read like `twisted.web.http_headers.Headers`; names come out in lower case.

    Attributes:
        fields: Name in lower case and value of each, in their order.
    """

    __slots__ = ("_values", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self._values: dict[bytes, list[bytes]] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """Add one; the name is a token in lower case."""
        self.fields.append((name, value))
        values = self._values.get(name)
        if values is None:
            self._values[name] = [value]
        else:
            values.append(value)

    def hasHeader(self, name: AnyStr) -> bool:
        """Whether it was sent."""
        return (name if isinstance(name, bytes) else name.encode("latin-1")).lower() in self._values

    def getRawHeaders(self, name: AnyStr, default: Any = None) -> Any:
        """All values of a header, as bytes or text like the name; the default when there is none."""
        if isinstance(name, bytes):
            return self._values.get(name.lower(), default)
        values = self._values.get(name.encode("latin-1").lower())
        return default if values is None else [value.decode("utf-8", "replace") for value in values]

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """Names and their values."""
        return iter(self._values.items())


class RequestHead:
    """
    Attributes:
        method, target, version: Of the request line.
        headers: See there.
        length: Bytes of the body; None when it comes in chunks.
        keeps: Whether the client takes another answer on this connection.
        expects: Whether it waits for `100 Continue` before it sends its body.
    """

    __slots__ = ("expects", "headers", "keeps", "length", "method", "target", "version")

    def __init__(self, method: bytes, target: bytes, version: bytes, headers: RequestHeaders) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.length = self._length()
        new = version == b"HTTP/1.1"
        self.keeps = new and b"close" not in _tokens(headers.getRawHeaders(b"connection"))
        self.expects = new and b"100-continue" in _tokens(headers.getRawHeaders(b"expect"))

    def _length(self) -> int | None:
        """Where the body ends. Two promises about that are one too many, also when they agree."""
        lengths: list[bytes] | None = self.headers.getRawHeaders(b"content-length")
        codings: list[bytes] | None = self.headers.getRawHeaders(b"transfer-encoding")
        if codings is not None:
            if len(codings) > 1 or codings[0].lower() != b"chunked" or self.version != b"HTTP/1.1":
                raise MalformedRequest("the only transfer coding is `chunked`, and only in HTTP/1.1")
            if lengths is not None:
                raise MalformedRequest("a body has a length or comes in chunks")
            return None
        if lengths is None:
            return 0
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MOST_DIGITS:
            raise MalformedRequest("a body has one length, in digits")
        return int(lengths[0])


def read_head(head: bytes, most_bytes: int, most_headers: int) -> RequestHead:
    """
    Take a head apart.

    Args:
        head: Without the empty line at its end.
        most_bytes: Length of all its lines, line ends not counted.
        most_headers: How many it may have.
    Raises:
        MalformedRequest: It can not be read, or could be read in two ways.
        RequestTooLarge: One line alone is longer than the whole head may be.
    """
    lines = head.split(b"\r\n")
    ends = b"\r\n" * (len(lines) - 1)
    if len(head) - len(ends) > most_bytes:
        if max(map(len, lines)) > most_bytes:
            raise RequestTooLarge("the head of the request")
        raise MalformedRequest("the head of the request is too long")
    if len(lines) - 1 > most_headers:
        raise MalformedRequest("the request has too many headers")
    if head.translate(None, TEXT) != ends:
        # Others take them for line ends.
        raise MalformedRequest("a header holds a control character")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        raise MalformedRequest("this is no HTTP request that can be read")
    headers = RequestHeaders()
    del lines[0]
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedRequest("a line of the head is no header")
        headers.add(_names.get(name) or _read_name(name), value.strip(b" \t"))
    hosts = headers.getRawHeaders(b"host", ())
    version = first[3]
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise MalformedRequest("a request has exactly one Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise MalformedRequest("the Host header names no host")
    return RequestHead(first[1], first[2], version, headers)


def _read_name(name: bytes) -> bytes:
    """Check the name of a header."""
    if name[:1] in (b" ", b"\t"):
        # A folded header (RFC 9112, 5.2): others see a header of its own there, such as the body's length.
        raise MalformedRequest("a line of the head begins with a space")
    if not _TOKEN.fullmatch(name):
        raise MalformedRequest("a header has no name")
    lower = name.lower()
    if len(_names) < _MOST_NAMES:
        _names[name] = lower
    return lower


def _tokens(values: list[bytes] | None) -> list[bytes]:
    """What a header lists, in lower case."""
    return [token.strip(b" \t") for token in b",".join(values).lower().split(b",")] if values else []
