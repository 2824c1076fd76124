"""The connection in memory behaves like one over TCP, as far as tests rely on it."""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aigw.testing.socket import Link, RawClient


class Server(Protocol):
    """Keeps what comes, and what its transport tells it."""

    def __init__(self) -> None:
        self.received = b""
        self.told: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class LinkTests(SynchronousTestCase):
    """Two ends and what is between them."""

    def setUp(self) -> None:
        self.client = RawClient()
        self.link = Link(Factory.forProtocol(Server), self.client, Clock())
        self.server = self.link.server_pipe.protocol
        self.link.server_pipe.bufferSize = 100
        self.link.server_pipe.registerProducer(self.server, True)

    def test_both_ways(self) -> None:
        """What one end writes the other reads, when the link settles."""
        self.client.send(b"ping")
        self.server.transport.write(b"pong")
        self.assertEqual(self.server.received, b"")
        self.link.settle()
        self.assertEqual((self.server.received, self.client.received), (b"ping", b"pong"))

    def test_flow_control(self) -> None:
        """A full buffer pauses its producer, each time; an empty one resumes it, once."""
        self.link.client_pipe.reading = False
        for _ in range(3):
            self.server.transport.write(b"x" * 60)
        self.link.settle()
        self.assertEqual((self.server.told, self.client.received), (["pause"] * 2, b""))
        self.link.read_some(100)
        self.assertEqual(self.server.told, ["pause"] * 2)
        self.link.client_pipe.reading = True
        self.link.settle()
        self.assertEqual((self.server.told, len(self.client.received)), (["pause", "pause", "resume"], 180))

    def test_reader_that_is_paused(self) -> None:
        """Bytes for an end that does not read wait, and are not lost."""
        self.server.transport.pauseProducing()
        self.client.send(b"ping")
        self.link.settle()
        self.assertEqual(self.server.received, b"")
        self.server.transport.resumeProducing()
        self.link.settle()
        self.assertEqual(self.server.received, b"ping")

    def test_close_lets_everything_leave(self) -> None:
        """An orderly close waits until the other end has read; nothing can be written behind it."""
        self.link.client_pipe.reading = False
        self.server.transport.write(b"last")
        self.server.transport.loseConnection()
        self.server.transport.write(b"late")
        self.link.settle()
        self.assertFalse(self.link.closed)
        self.link.client_pipe.reading = True
        self.link.settle()
        self.assertEqual((self.client.received, self.client.lost, self.link.closed), (b"last", True, True))
        self.assertEqual(self.server.told, ["lost"])

    def test_abort(self) -> None:
        """An abort waits for nobody."""
        self.link.client_pipe.reading = False
        self.server.transport.write(b"last")
        self.server.transport.abortConnection()
        self.link.settle()
        self.assertEqual((self.client.received, self.client.lost, self.link.closed), (b"", True, True))

    def test_refused(self) -> None:
        """A factory that takes no connection is told apart from one that does."""

        class Full(Factory):
            def buildProtocol(self, addr: object) -> None:
                return None

        self.assertTrue(Link(Full(), RawClient(), Clock()).refused)
        self.assertFalse(self.link.refused)
