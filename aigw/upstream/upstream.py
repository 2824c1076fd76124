"""`IUpstream`: providers over the network, and the sandbox, behind one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import gatherResults
from zope.interface import implementer

from aigw.interfaces import IUpstream
from aigw.serving.wheel import Wheel
from aigw.upstream.agent import PooledAgent, SchemeAgent
from aigw.upstream.call import Call
from aigw.upstream.client import DirectClient
from aigw.upstream.names import Names
from aigw.upstream.reach import Reach, read_trust_roots
from aigw.upstream.realtime import RealtimeUpstream
from aigw.upstream.realtime_socket import ProviderSockets
from aigw.upstream.sandbox import Sandbox
from aigw.upstream.settings import RealtimeSettings, UpstreamSettings
from aigw.values.step import UpstreamRequest


@implementer(IUpstream)
class Upstream:
    """
    Sends requests to `https://`, `http://` and `sandbox://`.

    Args:
        reactor: Connects and tells the time; provides `IReactorTCP`, `IReactorTime` and `IReactorThreads`.
        wheel: Runs the clocks of all calls.
        settings: See there.
        utc_s: Seconds since the epoch, for what the sandbox says of itself.
        realtime: Bounds of the WebSockets to providers.
    Attributes:
        agents: For requests to the public internet, and for those to addresses that are the operator's own word.
        realtime: Opens WebSockets.
    Raises:
        ConfigurationError: The trusted authorities cannot be read.
    """

    def __init__(
        self,
        reactor: Any,
        wheel: Wheel,
        settings: UpstreamSettings,
        utc_s: Callable[[], float],
        realtime: RealtimeSettings | None = None,
    ) -> None:
        self._reactor = reactor
        self._wheel = wheel
        self._names = Names(reactor, settings.dns_threads)
        reach = Reach(reactor, self._names, read_trust_roots(settings.trust_roots), settings.allow_private)
        limits = realtime or RealtimeSettings()
        self.realtime = RealtimeUpstream(reactor, reach, ProviderSockets(reactor, wheel, limits), wheel, limits)
        sandbox = Sandbox(reactor, settings.sandbox_pace_ms, utc_s)
        self.agents = tuple(PooledAgent(reach, wheel, settings, trusted) for trusted in (False, True))
        self._clients = tuple(
            DirectClient(SchemeAgent({b"https": agent, b"http": agent, b"sandbox": sandbox})) for agent in self.agents
        )

    def send(self, request: UpstreamRequest, receiver: Any) -> Call:
        """Start a call; see `IUpstream`."""
        call = Call(self._wheel, request, receiver)
        call.begin(self._clients[request.trusted], request, self._reactor)
        return call

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        self._names.close()
        await self.realtime.close()
        await gatherResults([agent.close() for agent in self.agents])
