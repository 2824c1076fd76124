"""The channel beside that of twisted.web: it sees the same requests in the same bytes, or fewer."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, HTTPFactory
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from aigw.errors import Unauthorized
from aigw.serving.http import GatewayRequest, IBodySink, Server, answer_json
from aigw.serving.limits import HttpLimits
from aigw.serving.wheel import Wheel
from aigw.testing.socket import Link, RawClient

LIMITS = HttpLimits(head_s=5.0, body_s=3.0, body_bytes=100_000, header_bytes=4_096, headers=20)


class Seen(NamedTuple):
    """A request, as a server understood it."""

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _seen(request: Any) -> Seen:
    headers = sorted(
        (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
    )
    return Seen(request.method, request.uri, request.clientproto, headers, request.content.read())


class Keeper(Resource):
    """
    Keeps what was asked.

    Args:
        later: Answer when the test says so.
    """

    isLeaf = True

    def __init__(self, later: bool = False) -> None:
        super().__init__()
        self.later = later
        self.seen: list[Seen] = []
        self.waiting: list[Any] = []

    def render(self, request: Any) -> int:
        """Answer."""
        self.seen.append(_seen(request))
        if self.later:
            self.waiting.append(request)
            return NOT_DONE_YET
        return answer_json(request, 200, b"{}")


class PlainFactory(HTTPFactory):
    """A server of twisted.web's own channel."""

    protocol: Any = HTTPChannel

    def __init__(self, clock: Clock) -> None:
        super().__init__(reactor=clock)
        self.timeOut: Any = None
        self.seen: list[Seen] = []
        seen = self.seen

        class Keeping(PlainRequest):
            """Keeps what was asked, and answers."""

            def process(self) -> None:
                seen.append(_seen(self))
                self.write(b"{}")
                self.finish()

        self.requestFactory = Keeping

    def buildProtocol(self, addr: Any) -> Any:
        """A channel with the bounds of ours."""
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = self.requestFactory
        channel.totalHeadersSize = channel.MAX_LENGTH = LIMITS.header_bytes
        channel.maxHeaders = LIMITS.headers
        return channel

    def log(self, request: Any) -> None:
        """Write nothing."""


def _feed(factory: Any, clock: Clock, pieces: list[bytes]) -> RawClient:
    client = RawClient()
    link = Link(factory, client, clock)
    for piece in pieces:
        if client.lost:
            break
        client.send(piece)
        link.settle()
    return client


def ours(pieces: list[bytes]) -> tuple[list[Seen], RawClient]:
    """What our server sees in these reads."""
    clock, root = Clock(), Keeper()
    return root.seen, _feed(Server(root, clock, Wheel(clock), LIMITS), clock, pieces)


def theirs(pieces: list[bytes]) -> list[Seen]:
    """What twisted.web's does."""
    clock = Clock()
    factory = PlainFactory(clock)
    _feed(factory, clock, pieces)
    return factory.seen


def statuses(client: RawClient) -> list[bytes]:
    """Of all answers."""
    return [part[:3] for part in client.received.split(b"HTTP/1.1 ")[1:]]


GOOD = (
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"\r\nPOST /c HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n0a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    b"POST /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
    b"HEAD /e HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"
)

# What heads and bodies are made of, good and bad.
_LINES = st.sampled_from(
    (
        *(b"Host: a", b"Host: b", b"X: 1", b"X:", b" folded", b"\tfolded", b"Connection: close", b"no colon"),
        *(b"Connection: keep-alive", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 05"),
        *(b"content-length : 5", b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length: 5\x0b"),
        *(b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED", b"Transfer-Encoding: identity"),
        *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked\rX: 1", b"Expect: 100-continue", b"X: \x00"),
        *(b"X: a\nContent-Length: 5", b"Content_Length: 5", b"Content-Length\x00: 5", b"X: " + b"x" * 1_500),
    )
)
_FIRST = st.sampled_from(
    (
        *(b"GET / HTTP/1.1", b"POST /p HTTP/1.1", b"POST /old HTTP/1.0", b"BREW /x HTTP/1.1", b"GET /", b"", b"\r\n"),
        *(b"GET /\xa0 HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/1.2", b"PRI * HTTP/2.0"),
    )
)
_END = st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"))
_BODY = st.sampled_from(
    (
        *(b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"0\r\n\r\n"),
        *(b"5 \r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"-1\r\n", b"5;\x00\r\nhello"),
        *(b"5\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n", b"\r\n\r\n"),
    )
)


@st.composite
def _conversations(draw: Any) -> bytes:
    """Some requests behind each other, few of them without a fault."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        lines = [draw(_FIRST), *draw(st.lists(_LINES, max_size=4))]
        if draw(st.booleans()):
            lines.insert(1, b"Host: a")
        data += b"".join(line + (b"\r\n" if draw(st.integers(0, 9)) else draw(_END)) for line in lines)
        data += b"\r\n" + draw(_BODY)
    return data


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % len(data) for place in places}) if data else []
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]


class BesideTwistedTests(SynchronousTestCase):
    """The same bytes, given to both."""

    def test_good_requests(self) -> None:
        """Both see the same requests, wherever the network cuts their bytes."""
        expected = theirs([GOOD])
        self.assertEqual([seen.target for seen in expected], [b"/a?b", b"/b", b"/c", b"/d", b"/e"])
        for at in range(len(GOOD)):
            seen, client = ours([GOOD[:at], GOOD[at:]] if at else [GOOD])
            self.assertEqual(seen, expected, at)
            self.assertEqual(statuses(client), [b"200"] * 3 + [b"100"] + [b"200"] * 2)
            self.assertTrue(client.lost)

    def test_byte_by_byte(self) -> None:
        """So they do when every byte comes alone."""
        self.assertEqual(ours([bytes([byte]) for byte in GOOD])[0], theirs([GOOD]))

    def _compare(self, data: bytes, places: list[int]) -> None:
        seen, client = ours([data])
        expected = theirs([data])
        self.assertEqual(seen, expected[: len(seen)])
        if not client.lost:
            # Nothing was refused, so nothing was lost on the way.
            self.assertEqual(len(seen), len(expected))
        again, other = ours(_cut(data, places))
        self.assertEqual((again, other.lost), (seen, client.lost))
        self.assertEqual(
            [each for each in statuses(other) if each != b"100"], [each for each in statuses(client) if each != b"100"]
        )
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=400, deadline=None)
    @given(_conversations(), st.lists(st.integers(0, 10_000), max_size=6))
    def test_bad_requests(self, data: bytes, places: list[int]) -> None:
        """What ours serves, twisted.web serves in the same way; so nobody smuggles a request past it into ours."""
        self._compare(data, places)

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3), st.lists(st.integers(0, 10_000)))
    def test_damaged_requests(self, at: int, instead: bytes, gone: int, places: list[int]) -> None:
        """So it is when good requests are damaged anywhere."""
        self._compare(GOOD[:at] + instead + GOOD[at + gone :], places)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=4))
    def test_noise(self, data: bytes, places: list[int]) -> None:
        """Noise is refused or waited for, and raises nothing."""
        self._compare(data, places)


class PaceTests(SynchronousTestCase):
    """Who waits for whom."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.root = Keeper(later=True)
        self.server = Server(self.root, self.clock, Wheel(self.clock), LIMITS, self.admit)
        self.client = RawClient()
        self.link = Link(self.server, self.client, self.clock)
        self.sink: Sink | None = None

    def admit(self, request: GatewayRequest) -> None:
        """Take bodies of one address as they come."""
        if request.uri == b"/pass":
            self.sink = request.sink = Sink()
        if request.uri == b"/secret":
            raise Unauthorized()

    def send(self, data: bytes) -> None:
        """From the client."""
        self.client.send(data)
        self.link.settle()

    def test_one_at_a_time(self) -> None:
        """Requests that were sent together are looked at one after the other, and answered in their order."""
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual([seen.target for seen in self.root.seen], [b"/1"])
        answer_json(self.root.waiting[0], 200, b"1")
        self.link.settle()
        self.assertEqual([seen.target for seen in self.root.seen], [b"/1", b"/2"])

    def test_no_end_of_requests(self) -> None:
        """A client that sends on while it is being answered is read no further than a little."""
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000)
        self.assertFalse(self.link.server_pipe.reading)
        answer_json(self.root.waiting[0], 200, b"1")
        self.link.settle()
        self.assertEqual(len(self.root.seen), 2)
        for at in range(1, 1_001):
            answer_json(self.root.waiting[at], 200, b"1")
            self.link.settle()
        self.assertTrue(self.link.server_pipe.reading)
        self.assertEqual(len(self.root.seen), 1_001)

    def test_a_client_that_does_not_read(self) -> None:
        """A client that takes no answers has no more of its requests looked at."""
        self.root.later = False
        self.link.client_pipe.reading = False
        for _ in range(3_000):
            self.client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.link.settle()
        self.assertFalse(self.link.server_pipe.reading)
        self.assertLess(self.link.server_pipe.waiting_bytes, 2 * self.link.server_pipe.bufferSize)
        served = len(self.root.seen)
        # Nor when they came together, before it stopped reading.
        self.link.server_pipe.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        self.assertEqual(len(self.root.seen), served)
        self.link.client_pipe.reading = True
        self.link.settle()
        self.assertGreater(len(self.root.seen), served)
        self.assertEqual(len(self.root.seen), 3_100)

    def test_answer_in_one_piece(self) -> None:
        """Head and body of an answer leave together: clients that read once find both."""
        sent: list[bytes] = []
        self.link.server_pipe.write = sent.append  # type: ignore  # what is sent, piece by piece
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        request = self.root.waiting[0]
        request.begin(200, [(b"content-length", b"2")], True)
        request.write(b"{}")
        self.assertEqual(sent, [])
        request.finish()
        (piece,) = sent
        self.assertTrue(piece.startswith(b"HTTP/1.1 200 OK\r\n") and piece.endswith(b"\r\n\r\n{}"))

    def test_streams(self) -> None:
        """What is written of an unfinished answer leaves with the turn, coded in chunks."""
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        request = self.root.waiting[0]
        request.begin(200, [], False)
        request.write(b"one")
        self.link.settle()
        self.assertTrue(self.client.received.endswith(b"\r\n\r\n3\r\none\r\n"))
        request.finish()
        self.link.settle()
        self.assertTrue(self.client.received.endswith(b"\r\n0\r\n\r\n"))

    def test_announced_end(self) -> None:
        """A client is told that its connection will not be kept: by its own wish, or since the server drains."""
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.drain()
        answer_json(self.root.waiting[0], 200, b"1")
        self.link.settle()
        self.assertIn(b"\r\nconnection: close\r\n", self.client.received)
        self.assertTrue(self.client.lost)

    def test_new_head_while_draining(self) -> None:
        """A request whose head has begun to come is still answered by a server that drains."""
        self.send(b"GET /1 HT")
        self.server.drain()
        self.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        answer_json(self.root.waiting[0], 200, b"1")
        self.link.settle()
        self.assertIn(b"HTTP/1.1 200 OK", self.client.received)

    def test_broken_chunks_behind_an_answer(self) -> None:
        """When the body breaks a rule while its answer is on the way, no second answer is put into the first."""
        self.send(b"POST /pass HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        (channel,) = self.server.channels
        channel.requests[0].begin(200, [], False)
        self.link.settle()
        self.send(b"nonsense\r\n")
        self.assertEqual(self.client.received.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.client.lost)
        self.assertEqual(self.sink and self.sink.told, [b"abc", "lost"])

    def test_body_that_is_held_up(self) -> None:
        """While we let a client wait, its clock stands still; a body that is whole by then is served."""
        self.send(b"POST /pass HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        (channel,) = self.server.channels
        request = channel.requests[0]
        request.pause_body()
        self.assertFalse(self.link.server_pipe.reading)
        self.link.advance(10.0, step_s=1.0)
        self.assertFalse(self.client.lost)
        request.resume_body()
        self.send(b"def")
        self.assertEqual(self.sink and self.sink.told, [b"abc", b"def", "finish"])

    def test_body_that_stops_again(self) -> None:
        """A client that was let go on and then sends nothing has no more time than before."""
        self.send(b"POST /pass HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        (channel,) = self.server.channels
        channel.requests[0].pause_body()
        self.link.advance(10.0, step_s=1.0)
        channel.requests[0].resume_body()
        self.link.advance(2.5)
        self.assertFalse(self.client.lost)
        self.link.advance(1.0)
        self.assertTrue(self.client.lost)

    def test_answer_before_the_body(self) -> None:
        """When the answer is complete before the body, what is left of the body is no next request."""
        self.send(b"POST /pass HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\nabc")
        (channel,) = self.server.channels
        answer_json(channel.requests[0], 200, b"{}")
        self.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        self.assertEqual((self.root.seen, self.client.lost), ([], True))
        self.assertEqual(self.client.received.count(b"HTTP/1.1"), 1)
        self.assertIn(b"\r\nconnection: close\r\n", self.client.received)

    def test_client_that_leaves(self) -> None:
        """Whoever wants to know is told that the client left, once, and not when it has its answer."""
        told: list[int] = []
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.root.waiting[0].left = lambda: told.append(1)
        answer_json(self.root.waiting[0], 200, b"1")
        self.link.settle()
        self.root.waiting[1].left = lambda: told.append(2)
        self.link.vanish()
        self.assertEqual(told, [2])

    def test_phrases(self) -> None:
        """Statuses that twisted.web does not know have their standard phrase."""
        self.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer_json(self.root.waiting[0], 429, b"{}")
        self.link.settle()
        self.assertTrue(self.client.received.startswith(b"HTTP/1.1 429 Too Many Requests\r\n"))


@implementer(IBodySink)
class Sink:
    """Keeps a body as it comes."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, chunk: bytes) -> None:
        """See `IBodySink`."""
        self.told.append(chunk)

    def finish(self) -> None:
        """See `IBodySink`."""
        self.told.append("finish")

    def lost(self) -> None:
        """See `IBodySink`."""
        self.told.append("lost")
