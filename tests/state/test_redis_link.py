"""The connection to Redis, second by second."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.errors import StateUnavailable
from aigw.state.redis_address import RedisAddress
from aigw.state.redis_link import IDLE_S, SILENT_S, RedisLink, load_txredisapi


class Wire(StringTransport):
    """One connection; an abort is told at once."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.other = protocol
        self.aborted = False

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        if not self.aborted:
            self.aborted = True
            self.other.connectionLost(Failure(ConnectionDone()))

    def sent(self) -> bytes:
        """What was sent since the last look."""
        value = self.value()
        self.clear()
        return value


@implementer(IStreamClientEndpoint)
class Endpoint:
    """
    A server that is played by the test.

    Attributes:
        refusing: Whether it accepts no connection.
        wires: Connections, the newest last.
        attempts: How often it was tried.
    """

    def __init__(self) -> None:
        self.refusing = False
        self.attempts = 0
        self.wires: list[Wire] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        self.attempts += 1
        if self.refusing:
            return fail(ConnectionRefusedError())
        protocol = factory.buildProtocol(None)
        self.wires.append(Wire(protocol))
        protocol.makeConnection(self.wires[-1])
        return succeed(protocol)


class LinkTests(SynchronousTestCase):
    """What goes over the wire, and when."""

    def setUp(self) -> None:
        """A link that is open."""
        self.clock = Clock()
        self.endpoint = Endpoint()
        address = RedisAddress("h", user="me", password="fake", db=4)
        self.link = RedisLink(self.clock, address, self.endpoint, load_txredisapi(), 3)
        self.link.start()
        self.greet()

    def greet(self) -> None:
        """Let the link in."""
        wire = self.endpoint.wires[-1]
        self.assertEqual(wire.sent(), b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\nfake\r\n")
        self.assertFalse(self.link.available)
        wire.other.dataReceived(b"+OK\r\n")
        self.assertEqual(wire.sent(), b"*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n")
        wire.other.dataReceived(b"+OK\r\n")
        self.assertTrue(self.link.available)

    def pass_(self, seconds: float) -> None:
        """Let time pass, quarter by quarter."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)

    def test_bytes(self) -> None:
        """What Redis gives comes as it is: bytes are not taken for numbers or texts."""
        wire = self.endpoint.wires[0]
        answers = [self.link.command("GET", key) for key in (b"a", b"b", b"c")]
        wire.other.dataReceived(b"$2\r\n12\r\n")
        self.clock.advance(0)
        wire.other.dataReceived(b"$-1\r\n$4\r\n\xff\r\n\x00\r\n")
        self.clock.advance(0)
        self.assertEqual([self.successResultOf(each) for each in answers], [b"12", None, b"\xff\r\n\x00"])

    def test_bound(self) -> None:
        """No more commands are under way than may be; the next is turned away at once."""
        asked = [self.link.command("PING") for _ in range(3)]
        self.failureResultOf(self.link.command("PING"), StateUnavailable)
        self.endpoint.wires[0].other.dataReceived(b"+PONG\r\n")
        self.successResultOf(asked[0])
        self.assertNoResult(self.link.command("PING"))

    def test_lost(self) -> None:
        """What is under way when the connection is lost fails, and so does what comes then, until there is another."""
        asked = [self.link.command("PING") for _ in range(2)]
        again: list[Any] = []
        # Somebody who asks again as soon as he hears of it.
        asked[0].addErrback(lambda _: again.append(self.link.command("PING")))
        self.endpoint.wires[0].abortConnection()
        self.failureResultOf(asked[1], StateUnavailable)
        self.failureResultOf(again[0], StateUnavailable)
        self.pass_(1)
        self.greet()
        self.assertNoResult(self.link.command("PING"))

    def test_silence(self) -> None:
        """A server that leaves a command without an answer loses its connection after some seconds."""
        asked = self.link.command("PING")
        self.pass_(SILENT_S)
        self.assertFalse(self.endpoint.wires[0].aborted)
        self.pass_(1.5)
        self.failureResultOf(asked, StateUnavailable)
        self.assertTrue(self.endpoint.wires[0].aborted)
        self.greet()

    def test_slow_but_alive(self) -> None:
        """A server that answers one command after the other keeps its connection, however many wait."""
        asked = [self.link.command("PING") for _ in range(3)]
        for each in asked:
            self.pass_(SILENT_S - 1)
            self.endpoint.wires[0].other.dataReceived(b"+PONG\r\n")
            self.successResultOf(each)
        self.assertFalse(self.endpoint.wires[0].aborted)

    def test_idle(self) -> None:
        """A connection that nobody uses is tried now and then, and given up when it has died unnoticed."""
        wire = self.endpoint.wires[0]
        self.pass_(IDLE_S + 1)
        self.assertEqual(wire.sent(), b"*1\r\n$4\r\nPING\r\n")
        wire.other.dataReceived(b"+PONG\r\n")
        self.pass_(IDLE_S - 1)
        self.assertEqual(wire.sent(), b"")
        self.pass_(2.5 + SILENT_S + 1)
        self.assertTrue(wire.aborted)

    def test_growing_pause(self) -> None:
        """A server that is away is not tried without end: each pause is longer than the one before, up to seconds."""
        self.endpoint.refusing = True
        self.endpoint.wires[0].abortConnection()
        self.endpoint.attempts = 0
        self.pass_(60)
        self.assertLess(self.endpoint.attempts, 40)
        self.assertGreater(self.endpoint.attempts, 25)

    def test_no_answer_to_the_greeting(self) -> None:
        """A server that accepts and says nothing is given up."""
        self.endpoint.wires[0].abortConnection()
        self.pass_(0.5)
        self.assertEqual(len(self.endpoint.wires), 2)
        self.pass_(6)
        self.assertTrue(self.endpoint.wires[1].aborted)
        self.assertFalse(self.link.available)

    def test_command_that_cannot_be_written(self) -> None:
        """What cannot be sent at all fails by itself, and takes no room from others."""
        for _ in range(5):
            self.failureResultOf(self.link.command("GET", "\ud800"), StateUnavailable)
        self.assertNoResult(self.link.command("PING"))

    def test_stop(self) -> None:
        """After a stop nothing is left, and what was under way has failed."""
        asked = self.link.command("PING")
        stopped = Deferred.fromCoroutine(self.link.stop())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.failureResultOf(asked, StateUnavailable)
        self.assertTrue(self.endpoint.wires[0].aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
