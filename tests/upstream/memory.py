"""Connections in memory: a test reads what was written to them, and says what comes back."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aigw.serving.wheel import Wheel
from aigw.upstream.agent import PooledAgent
from aigw.upstream.call import Call
from aigw.upstream.client import DirectClient
from aigw.upstream.request import Site
from aigw.upstream.settings import UpstreamSettings
from aigw.values.step import Clocks, UpstreamRequest
from tests.upstream.receiver import Recorder


class Wire(StringTransport):
    """
    The transport of one connection.

    Attributes:
        lost: Whether it is gone.
        says_goodbye: False for TLS whose other side never answers our farewell.
    """

    protocol: Protocol
    lost = False
    says_goodbye = True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def give(self, data: bytes) -> None:
        """The provider sends."""
        self.protocol.dataReceived(data)

    def drop(self, reason: Exception | None = None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def loseConnection(self) -> None:
        if self.says_goodbye:
            self.drop()

    def abortConnection(self) -> None:
        self.drop(ConnectionAborted())


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """
    Attributes:
        wires: Of every connection that was made.
        held: While set, a connection is not made: it waits in `attempts`.
    """

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.attempts: list[tuple[Deferred[IProtocol], IProtocolFactory]] = []
        self.held = False

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if not self.held:
            return succeed(self._made(factory))
        attempt: Deferred[IProtocol] = Deferred()
        self.attempts.append((attempt, factory))
        return attempt

    def let(self) -> None:
        """Make the first connection that was held."""
        attempt, factory = self.attempts.pop(0)
        attempt.callback(self._made(factory))

    def _made(self, factory: IProtocolFactory) -> IProtocol:
        wire = Wire()
        protocol = factory.buildProtocol(None)
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)
        return protocol


class MemoryReach:
    """Stands in for `Reach`: one endpoint for all hosts."""

    def __init__(self) -> None:
        self.to = MemoryEndpoint()
        self.places: list[Site] = []

    def endpoint(self, place: Site, trusted: bool = False) -> MemoryEndpoint:
        self.places.append(place)
        return self.to


class MemoryUpstream:
    """The real client, agent and calls, over connections in memory and a clock that stands still."""

    def __init__(self, settings: UpstreamSettings | None = None) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock, 0.1)
        self.reach = MemoryReach()
        self.agent = PooledAgent(self.reach, self.wheel, settings or UpstreamSettings())
        self.client = DirectClient(self.agent)

    @property
    def endpoint(self) -> MemoryEndpoint:
        return self.reach.to

    @property
    def wires(self) -> list[Wire]:
        return self.reach.to.wires

    def send(
        self,
        clocks: Clocks | None = None,
        method: bytes = b"POST",
        body: bytes | IBodyProducer = b"{}",
        url: bytes = b"http://p.test/v1",
    ) -> tuple[Call, Recorder]:
        """Start a call."""
        request = UpstreamRequest(method, url, (), body, clocks or Clocks())
        receiver = Recorder()
        call = Call(self.wheel, request, receiver)
        call.begin(self.client, request, self.clock)
        return call, receiver
