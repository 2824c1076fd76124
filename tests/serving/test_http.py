"""The HTTP server beneath both ports: its bounds, its deadlines, and what it says to those it turns away."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from aigw.errors import Unauthorized
from aigw.serving.http import GatewayRequest, Server, answer_json
from aigw.serving.limits import HttpLimits
from aigw.serving.wheel import Wheel
from aigw.testing.socket import Link, RawClient

LIMITS = HttpLimits(connections=2, head_s=5.0, body_s=3.0, body_bytes=1_000, header_bytes=4_096, headers=20)


class Echo(Resource):
    """Answers with what it got; keeps the requests for `/later`, and raises for `/broken`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Request] = []
        self.rendered = 0

    def render(self, request: Any) -> int:
        """Serve."""
        self.rendered += 1
        if request.uri == b"/broken":
            raise ZeroDivisionError("with a secret in it")
        if request.uri == b"/later":
            self.kept.append(request)
            return NOT_DONE_YET
        body = request.content.read()
        return answer_json(
            request, 200, json.dumps([request.method.decode("latin-1"), body.decode("latin-1")]).encode()
        )


def admit(request: GatewayRequest) -> None:
    """Refuse one address by its head."""
    if request.uri == b"/secret":
        raise Unauthorized()


class ServerCase(SynchronousTestCase):
    """A server with small bounds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.root = Echo()
        self.server = Server(self.root, self.clock, Wheel(self.clock), LIMITS, admit)

    def connect(self, data: bytes = b"") -> tuple[Link, RawClient]:
        """A client that has sent some bytes."""
        client = RawClient()
        link = Link(self.server, client, self.clock)
        if data:
            client.send(data)
            link.settle()
        return link, client

    def answers(self, client: RawClient) -> list[tuple[int, Any]]:
        """Status and decoded body of each answer that a client got."""
        found, rest = [], client.received
        while rest:
            top, _, rest = rest.partition(b"\r\n\r\n")
            lines = top.decode("latin-1").lower().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            body, rest = rest[:length], rest[length:]
            found.append((int(lines[0].split(" ")[1]), json.loads(body) if body else None))
        return found

    def assert_turned_away(self, data: bytes, status: int, code: int) -> RawClient:
        """These bytes are answered with this refusal, in JSON and once, and the connection is closed."""
        link, client = self.connect(data)
        ((found, body),) = self.answers(client)
        self.assertEqual((found, body["internalCode"]), (status, code), data[:60])
        self.assertTrue(client.lost)
        self.assertNotIn(b"100 Continue", client.received)
        self.assertNotIn(b"TwistedWeb", client.received)
        self.assertEqual((self.root.rendered, self.server.channels), (0, set()))
        link.settle()
        return client


class RequestTests(ServerCase):
    """Requests that are served."""

    def test_keep_alive(self) -> None:
        """Requests follow each other on one connection, also when they were sent together."""
        one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        two = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
        link, client = self.connect(one + two)
        client.send(one)
        link.settle()
        self.assertEqual([body[1] for _, body in self.answers(client)], ["one", "two", "one"])
        self.assertFalse(client.lost)

    def test_close(self) -> None:
        """A client that asks for it, or speaks HTTP/1.0, has its connection closed after the answer."""
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            _, client = self.connect(data)
            self.assertEqual(self.answers(client)[0][0], 200)
            self.assertTrue(client.lost)

    def test_any_method(self) -> None:
        """Methods that nobody knows reach the resource like others, which answers in JSON."""
        for method in (b"BREW", b"OPTIONS", b"DELETE"):
            _, client = self.connect(b"%b / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % method)
            self.assertEqual(self.answers(client), [(200, [method.decode(), ""])])

    def test_head(self) -> None:
        """HEAD has the length of a body and none."""
        _, client = self.connect(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        top, _, body = client.received.partition(b"\r\n\r\n")
        self.assertIn(b"content-length: 12", top.lower())
        self.assertEqual(body, b"")

    def test_continue(self) -> None:
        """A client that asks before it sends its body is told to go on."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        link, client = self.connect(head)
        self.assertEqual(client.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.received = b""
        client.send(b"one")
        link.settle()
        self.assertEqual(self.answers(client), [(200, ["POST", "one"])])

    def test_defect(self) -> None:
        """A resource that raises is a 500 in JSON that shows nothing of the inside."""
        _, client = self.connect(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
        ((status, body),) = self.answers(client)
        self.assertEqual((status, body["internalCode"]), (500, 4999))
        self.assertNotIn(b"secret", client.received)
        self.assertNotIn(b"ZeroDivision", client.received)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_client_that_leaves(self) -> None:
        """A client that leaves before its answer is noticed."""
        link, _ = self.connect(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        gone = self.root.kept[0].notifyFinish()
        link.vanish()
        self.failureResultOf(gone)
        self.assertEqual(self.server.channels, set())


class RefusalTests(ServerCase):
    """Requests that are turned away by their head, before their body is read."""

    def test_body_too_long(self) -> None:
        """A body that is announced too long is 413 at once, and no `100 Continue` invites it."""
        for expect in (b"", b"Expect: 100-continue\r\n"):
            head = b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: 1001\r\n\r\n" % expect
            self.assert_turned_away(head, 413, 4004)
            self.assert_turned_away(head + b"x" * 1001, 413, 4004)

    def test_longest_body(self) -> None:
        """A body of exactly the allowed length is taken."""
        _, client = self.connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
        self.assertEqual(self.answers(client)[0][0], 200)

    def test_chunks_too_long(self) -> None:
        """A body in chunks is 413 as soon as it has grown too long."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assert_turned_away(head + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501 + b"\r\n", 413, 4004)
        link, client = self.connect(head)
        for _ in range(3):
            client.send(b"1f4\r\n" + b"x" * 500 + b"\r\n")
        link.settle()
        self.assertEqual(self.answers(client)[0][0], 413)

    def test_not_admitted(self) -> None:
        """What is not let in by its head is refused before its body, and without an invitation to send it."""
        self.assert_turned_away(b"POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 401, 2009)
        head = b"POST /secret HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        self.assert_turned_away(head, 401, 2009)

    def test_hosts(self) -> None:
        """No host, or two of them, is 400."""
        self.assert_turned_away(b"GET / HTTP/1.1\r\n\r\n", 400, 4000)
        self.assert_turned_away(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, 4000)

    def test_control_bytes(self) -> None:
        """Bytes that other parsers take for line ends are 400 in any header; the tab is none of them."""
        for byte in [*range(9), 11, 12, *range(14, 32), 127]:
            for line in (b"X: a%cb", b"X%c: a", b"X: %cb"):
                data = b"GET / HTTP/1.1\r\nHost: a\r\n" + line % byte + b"\r\n\r\n"
                self.assert_turned_away(data, 400, 4000)
        _, client = self.connect(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\xff\r\n\r\n")
        self.assertEqual(self.answers(client)[0][0], 200)

    def test_no_request(self) -> None:
        """What is no HTTP is 400, in JSON."""
        for data in (
            b"nonsense\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            self.assert_turned_away(data, 400, 4000)

    def test_head_too_large(self) -> None:
        """A head with too many headers, or too many bytes, is refused."""
        self.assert_turned_away(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 25 + b"\r\n", 400, 4000)
        self.assert_turned_away(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"x" * 1_000) * 5, 400, 4000)

    def test_endless_line(self) -> None:
        """A line without an end is not kept for ever."""
        link, client = self.connect()
        for _ in range(100):
            client.send(b"x" * 1_000)
            link.settle()
        self.assertTrue(client.lost)

    def test_what_follows_a_refusal(self) -> None:
        """Bytes behind a refused request are no second request."""
        data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assert_turned_away(data, 413, 4004)


class DeadlineTests(ServerCase):
    """Clients that take their time."""

    def test_slow_head(self) -> None:
        """A head that comes byte by byte has its time like any other, however busy the client looks."""
        link, client = self.connect()
        for byte in b"GET / HT":
            client.send(bytes([byte]))
            link.advance(0.6)
        link.advance(0.5)
        self.assertTrue(client.lost)
        self.assertEqual(self.server.channels, set())

    def test_slow_body(self) -> None:
        """A body that comes byte by byte has its own time."""
        link, client = self.connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        for _ in range(5):
            self.assertFalse(client.lost)
            client.send(b"x")
            link.advance(0.5)
        link.advance(1.0)
        self.assertTrue(client.lost)

    def test_idle_connection(self) -> None:
        """A connection that is kept and not used is closed."""
        link, client = self.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        link.advance(4.5)
        self.assertFalse(client.lost)
        link.advance(1.0)
        self.assertTrue(client.lost)

    def test_long_answer(self) -> None:
        """While the answer is being made no clock runs against the client."""
        link, client = self.connect(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        link.advance(60.0, step_s=1.0)
        self.assertFalse(client.lost)
        answer_json(self.root.kept[0], 200, b"1")
        link.settle()
        self.assertEqual(self.answers(client), [(200, 1)])
        link.advance(6.0)
        self.assertTrue(client.lost)


class RoomTests(ServerCase):
    """As many connections as there may be, and none when the server is about to stop."""

    def test_too_many_connections(self) -> None:
        """One connection more than allowed is closed at once; when one leaves, there is room again."""
        first, _ = self.connect()
        self.connect()
        self.assertTrue(self.connect()[0].refused)
        first.vanish()
        self.assertFalse(self.connect()[0].refused)

    def test_drain(self) -> None:
        """A server that drains closes idle connections at once and busy ones after their answer, and takes no more."""
        idle, _ = self.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        busy, client = self.connect(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.drain()
        idle.settle()
        busy.settle()
        self.assertEqual((idle.closed, busy.closed), (True, False))
        self.assertTrue(self.connect()[0].refused)
        answer_json(self.root.kept[0], 200, b"1")
        busy.settle()
        self.assertEqual(self.answers(client), [(200, 1)])
        self.assertTrue(busy.closed)

    def test_no_timers_left(self) -> None:
        """Connections that are gone leave no clock behind."""
        for data in (b"", b"GET / HTTP/1.1\r\n", b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n", b"nonsense\r\n\r\n"):
            link, _ = self.connect(data)
            link.vanish()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LingerTests(TestCase):
    """Clients that are still sending when they are answered, over real sockets."""

    timeout = 20

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = Server(Echo(), self.reactor, Wheel(self.reactor), HttpLimits(body_bytes=10), admit)
        self.listening = self.reactor.listenTCP(0, self.server, interface="127.0.0.1")

    async def tearDown(self) -> None:
        await self.listening.stopListening()
        while self.server.channels:
            await deferLater(self.reactor, 0.01)

    def ask(self, path: str) -> tuple[int, bytes]:
        """Send a large body to its last byte, and only then look for an answer; blocks."""
        connection = HTTPConnection("127.0.0.1", self.listening.getHost().port, timeout=10)
        try:
            connection.request("POST", path, bytes(20_000_000))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async def test_answer_is_read(self) -> None:
        """A program that sends all of its body before it reads gets the refusal, and no broken connection."""
        for path, expected in (("/secret", 401), ("/", 413)):
            status, body = await deferToThread(self.ask, path)
            self.assertEqual((status, json.loads(body)["httpCode"]), (expected, expected))
