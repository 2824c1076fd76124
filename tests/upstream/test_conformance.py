"""Our agent and Twisted's own, given the same bytes, tell the same."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, PotentialDataLoss, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from tests.upstream.memory import MemoryEndpoint, MemoryUpstream

LENGTH = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n"
TO_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"

# Name: method, what the server sends, whether it closes then.
CASES: dict[str, tuple[bytes, bytes, bool]] = {
    "length": (b"POST", LENGTH, False),
    "length, then close": (b"POST", LENGTH, True),
    "cut short": (b"POST", LENGTH[:-2], True),
    "chunked": (b"POST", CHUNKED + b"\r\n", False),
    "chunked with trailers": (b"POST", CHUNKED + b"X-T: 1\r\nX-U: 2\r\n\r\n", False),
    "chunked, cut before the last chunk": (b"POST", CHUNKED[:-3], True),
    "chunked, cut in a chunk": (b"POST", CHUNKED[:55], True),
    "until close": (b"POST", TO_CLOSE, True),
    "HTTP/1.0": (b"POST", TO_CLOSE.replace(b"1.1", b"1.0"), True),
    "no phrase": (b"POST", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", False),
    "interim": (b"POST", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + LENGTH, False),
    "204": (b"POST", b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", False),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n", False),
    "HEAD": (b"HEAD", b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\n", False),
    "redirect": (b"POST", b"HTTP/1.1 302 Found\r\nLocation: http://else.test/\r\nContent-Length: 0\r\n\r\n", False),
    "compressed": (
        b"POST",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
        False,
    ),
    "empty": (b"POST", b"", True),
    "half a head": (b"POST", b"HTTP/1.1 200 OK\r\nContent-Le", True),
    "no HTTP": (b"POST", b"SSH-2.0-OpenSSH\r\n", False),
}


class Reader(Protocol):
    """Writes down a body and how it ended."""

    def __init__(self) -> None:
        self.body = b""
        self.ending = "open"

    def dataReceived(self, data: bytes) -> None:
        self.body += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Twisted tells a body that only the connection's end delimits from one that is surely whole; we do not.
        self.ending = "whole" if reason.check(ResponseDone, PotentialDataLoss) else "cut"


@implementer(IAgentEndpointFactory)
class Endpoints:
    def __init__(self, endpoint: MemoryEndpoint) -> None:
        self.endpoint = endpoint

    def endpointForURI(self, uri: Any) -> MemoryEndpoint:
        return self.endpoint


Told = tuple[object, ...]


def told(agent: Any, endpoint: MemoryEndpoint, method: bytes, pieces: list[bytes], close: bool) -> Told:
    """What an agent makes of bytes."""
    answers: list[IResponse] = []
    failures: list[Failure] = []
    agent.request(method, b"http://p.test/v1", Headers({"X-A": ["1"]})).addCallbacks(answers.append, failures.append)
    wire = endpoint.wires[-1]
    reader = Reader()
    delivered = False
    for piece in pieces:
        if wire.lost:
            break
        wire.give(piece)
        if answers and not delivered:
            delivered = True
            answers[0].deliverBody(reader)
    if close:
        wire.drop(ConnectionDone())
    if not answers:
        return ("no answer", len(failures))
    answer = answers[0]
    # Twisted keeps fields that concern the connection apart.
    fields = sorted(
        (name.lower(), values)
        for name, values in answer.headers.getAllRawHeaders()
        if name.lower() not in (b"content-length", b"transfer-encoding")
    )
    return (answer.code, answer.phrase, fields, reader.body, reader.ending)


def ours(method: bytes, pieces: list[bytes], close: bool) -> Told:
    upstream = MemoryUpstream()
    return told(upstream.agent, upstream.endpoint, method, pieces, close)


def twisteds(method: bytes, pieces: list[bytes], close: bool) -> Told:
    endpoint = MemoryEndpoint()
    return told(Agent.usingEndpointFactory(Clock(), Endpoints(endpoint)), endpoint, method, pieces, close)


class ConformanceTests(SynchronousTestCase):
    def test_same_as_twisted(self) -> None:
        """Status, fields, body and end are those that Twisted's agent tells, in one piece or split at any byte."""
        for name, (method, data, close) in CASES.items():
            expected = twisteds(method, [data] if data else [], close)
            for at in range(len(data) + 1):
                pieces = [piece for piece in (data[:at], data[at:]) if piece]
                self.assertEqual(ours(method, pieces, close), expected, f"{name}, split at {at}")
