"""Content codings of HTTP (RFC 9110, 8.4), undone piece by piece and never without a bound."""

from __future__ import annotations

import zlib

from aigw.errors import InvalidAnswer, ResponseTooLarge
from aigw.values.step import Headers

# How much is inflated before the sum is looked at: a bomb makes a thousand bytes of one.
PIECE_BYTES = 262_144

_GZIP, _DEFLATE = "gzip", "deflate"
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
_GZIP_MAGIC = b"\x1f"
_WITH_GZIP_HEAD = 16 + zlib.MAX_WBITS


def coding_of(headers: Headers) -> str:
    """
    The coding of a body.

    Args:
        headers: Of the answer, names in lower case.
    Returns:
        Empty for a body as it is, else a name for `ContentDecoder`.
    Raises:
        InvalidAnswer: The body is coded in a way, or more than one, that nobody asked for.
    """
    found = [value for name, value in headers if name == b"content-encoding"]
    if not found:
        return ""
    told = b",".join(found).decode("latin-1").lower()
    codings = [coding for coding in (part.strip() for part in told.split(",")) if coding not in ("", "identity")]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in _CODINGS:
        raise InvalidAnswer(f"its content coding is {told[:64]!r}")
    return _CODINGS[codings[0]]


class ContentDecoder:
    """
    Undoes the coding of one body.

    Args:
        coding: Of `coding_of`.
        max_bytes: Most that one chunk may become.
    """

    __slots__ = ("_coding", "_inflate", "_max_bytes", "_start")

    def __init__(self, coding: str, max_bytes: int) -> None:
        self._coding = coding
        self._max_bytes = max_bytes
        self._inflate: zlib._Decompress | None = None
        # The first bytes, until they tell which of its two forms `deflate` has.
        self._start = b""

    @property
    def finished(self) -> bool:
        """Whether the body may end here: it has shown its own end, or there was none at all."""
        return not self._start if self._inflate is None else self._inflate.eof

    def feed(self, chunk: bytes) -> bytes:
        """
        Take the next bytes of the body.

        Returns:
            What they stand for, perhaps nothing yet.
        Raises:
            InvalidAnswer: They are not of this coding.
            ResponseTooLarge: They would become more than `max_bytes`.
        """
        if self._inflate is None:
            chunk = self._start + chunk
            if len(chunk) < 2:
                self._start = chunk
                return b""
            self._inflate = self._decompressor(chunk)
        try:
            return self._inflated(self._inflate, chunk)
        except zlib.error as error:
            raise InvalidAnswer(f"its body is not what its content coding says: {error}") from None

    def _decompressor(self, start: bytes) -> zlib._Decompress:
        if self._coding == _GZIP:
            return zlib.decompressobj(_WITH_GZIP_HEAD)
        # Some servers leave out the head of RFC 1950 that `deflate` promises.
        has_head = start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if has_head else -zlib.MAX_WBITS)

    def _inflated(self, inflate: zlib._Decompress, chunk: bytes) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            if inflate.eof:
                # A gzip body may be several, one after the other; anything else behind the end is padding.
                if self._coding != _GZIP or chunk[:1] != _GZIP_MAGIC:
                    break
                inflate = self._inflate = zlib.decompressobj(_WITH_GZIP_HEAD)
            piece = inflate.decompress(chunk, PIECE_BYTES)
            pieces.append(piece)
            total += len(piece)
            if total > self._max_bytes:
                raise ResponseTooLarge()
            chunk = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            if not chunk and len(piece) < PIECE_BYTES:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
