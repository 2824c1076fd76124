"""The head of an answer, as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from aigw.serving.head import TEXT

_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_NOT_TEXT = bytes(set(range(256)) - set(TEXT))
_SPACES = bytes.maketrans(_NOT_TEXT, b" " * len(_NOT_TEXT))


def phrase_of(status: int) -> bytes:
    """The standard phrase of a status; an empty one, which is allowed, for a status that is no standard's."""
    return _PHRASES.get(status, b"")


def answer_head(version: bytes, status: int, phrase: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """
    Write a head.

    Args:
        version, status, phrase: Of the status line.
        fields: Names, which are tokens, and values. What could end a line in a value becomes a space: some are a
            client's or a provider's own words.
    """
    lines = [b"%b %d %b" % (version, status, phrase)]
    lines += [b"%b: %b" % field for field in fields]
    head = b"\r\n".join(lines)
    if head.translate(None, TEXT) != b"\r\n" * (len(lines) - 1):
        head = b"\r\n".join(line.translate(_SPACES) for line in lines)
    return head + b"\r\n\r\n"
