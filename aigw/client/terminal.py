"""`aigw chat`: a connection, a conversation, and the lines of a terminal or a pipe."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from aigw.client.chat import Chat, Partner
from aigw.client.connection import connect
from aigw.client.failures import AnswerFailed

PROMPT = "> "
_LINE_BYTES = 1_048_576


@attrs.frozen
class ChatOptions:
    """
    What `aigw chat` was asked for.

    Attributes:
        url: Of the gateway's WebSocket.
        token: For the gateway; None for an open one.
        partner: Whom to talk to.
        message: The only turn; empty to take turns line by line from standard input.
        as_json: Print every piece as a line of JSON, and the metadata as the last of a turn.
        readable: Takes out of a model's text what would steer the terminal.
    """

    url: str
    token: str | None = attrs.field(repr=False)
    partner: Partner
    message: str = ""
    as_json: bool = False
    readable: Callable[[str], str] = str


async def chat(reactor: Any, options: ChatOptions, out: TextIO, err: TextIO) -> None:
    """
    Hold a conversation.

    Args:
        reactor: Connects, and reads standard input.
        options: See there.
        out: Where answers go, as they come.
        err: Where a failed turn is told.
    Raises:
        ClientFailure, ConnectError: Why it ended early. In a conversation of many turns a failed answer ends its
            turn only.
    """
    client = await connect(reactor, options.url, options.token)
    try:
        talk = Chat(client, options.partner, *_printers(options, out))
        if options.message:
            _end_turn(await talk.say(options.message), options.as_json, out)
        else:
            await _take_turns(reactor, talk, options, out, err)
    finally:
        await client.close()


async def _take_turns(reactor: Any, talk: Chat, options: ChatOptions, out: TextIO, err: TextIO) -> None:
    lines = Lines()
    standard_input = StandardIO(lines, reactor=reactor)
    interactive = sys.stdin.isatty() and not options.as_json
    try:
        while True:
            if interactive:
                print(PROMPT, end="", file=out, flush=True)
            line = await lines.next()
            if line is None:
                break
            if not line.strip():
                continue
            try:
                _end_turn(await talk.say(line), options.as_json, out)
            except AnswerFailed as failure:
                print(_failure_text(failure, options.as_json), file=err, flush=True)
    finally:
        with contextlib.suppress(Exception):
            standard_input.loseConnection()


class Lines(Protocol):
    """Lines of standard input, one at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: deque[str] = deque()
        self._ended = False
        self._reader: Deferred[None] | None = None

    async def next(self) -> str | None:
        """The next line without its end; None when there are no more."""
        while not self._lines and not self._ended:
            self._reader = Deferred()
            await self._reader
        return self._lines.popleft() if self._lines else None

    def dataReceived(self, data: bytes) -> None:
        """More input."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines.extend(line.decode("utf-8", "replace").rstrip("\r") for line in lines)
        if len(self._buffer) > _LINE_BYTES:
            self._buffer = b""
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the input; a last line needs no end of its own."""
        if self._buffer:
            self._lines.append(self._buffer.decode("utf-8", "replace"))
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)


def _printers(options: ChatOptions, out: TextIO) -> tuple[Any, Any]:
    """What to do with a piece, and with its text."""
    if options.as_json:
        return lambda piece: print(json.dumps(piece), file=out, flush=True), lambda text: None
    return lambda piece: None, lambda text: print(options.readable(text), end="", file=out, flush=True)


def _end_turn(metadata: Mapping[str, Any], as_json: bool, out: TextIO) -> None:
    print(json.dumps({"metadata": metadata}) if as_json else "", file=out, flush=True)


def _failure_text(failure: AnswerFailed, as_json: bool) -> str:
    return json.dumps({"error": {"code": "answer", "message": str(failure)}}) if as_json else f"aigw: {failure}"
