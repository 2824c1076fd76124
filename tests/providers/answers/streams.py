"""Feeds answers to readers as they come from the wire."""

from __future__ import annotations

from aigw.codecs.sse import SSEParser
from aigw.providers.answers import reader_for
from aigw.providers.families import Family
from aigw.providers.usage import AnswerReader


def read_stream(family: Family, stream: bytes, done_mark: bool = True) -> AnswerReader:
    """The reader of a family after a whole event stream."""
    reader = reader_for(family, done_mark)
    for event in SSEParser(1 << 20).feed(stream):
        reader.event(event)
    return reader


def read_body(family: Family, body: bytes) -> AnswerReader:
    """The reader of a family after a whole answer."""
    reader = reader_for(family)
    reader.body(body)
    return reader


def sse(*payloads: bytes) -> bytes:
    """A stream of unnamed events."""
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
