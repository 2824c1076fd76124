"""A data port on loopback for vendors' own SDKs, which know nothing of it but its address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from aigw.providers.settings import ProviderSettings
from aigw.serving.wheel import Wheel
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.provider import ScriptedProvider
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.gateway import Gateway

T = TypeVar("T")
LOOK_S = 0.01

# What an SDK sends as the provider's key, where the gateway's token has a header of its own.
PROVIDER_KEY = "sk-fake-of-the-provider"
TOKEN_HEADER = {"cf-aig-authorization": f"Bearer {TOKEN}"}


class SdkTestCase(TestCase):
    """
    A provider that plays a vendor, and a gateway before it; real sockets on both sides.

    Attributes:
        slug: The vendor's, as in the address.
        base_path: Path of the vendor's base address.
        provider: Plays the vendor.
        url: What an SDK is given instead of the vendor's address.
        port: The gateway.
    """

    timeout = 60
    slug = ""
    base_path = ""
    settings: dict[str, Any] = {}

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.upstream = Upstream(reactor, Wheel(self.reactor), UpstreamSettings(), lambda: 1_700_000_000.0)
        vendor = ProviderSettings(base_url=self.provider.url + self.base_path, **self.settings)
        self.port = MemoryDataPort(
            gateways=(Gateway(id="default"),),
            providers={self.slug: vendor},
            clock=reactor,
            upstream=self.upstream,
        )
        self.listening: Any = self.reactor.listenTCP(0, self.port.server, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.listening.getHost().port}/v1/local/default/{self.slug}"

    async def tearDown(self) -> None:
        await self.listening.stopListening()
        for channel in list(self.port.server.channels):
            channel.abort()
        while self.port.server.channels:
            await deferLater(self.reactor, LOOK_S)
        await self.upstream.close()
        await self.provider.close()

    def blocking(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        """Run what blocks in a thread."""
        return deferToThread(work, *args, **kwargs)

    def go(self, request_id: str = "req-1") -> None:
        """Let the vendor go on past a `WAIT`; for the thread of an SDK."""
        self.reactor.callFromThread(self.provider.go, request_id)

    def sent(self) -> dict[str, str]:
        """The headers of the latest request that the vendor got."""
        return {name.decode(): value.decode("latin-1") for name, value in self.provider.requests[-1].headers}

    def assert_no_token_left(self) -> None:
        """Nothing that the vendor got holds the gateway's token or one of its settings."""
        for seen in self.provider.requests:
            for name, value in seen.headers:
                self.assertNotIn(b"aigw_", value, name)
                self.assertFalse(name.startswith(b"cf-aig-"), name)
            self.assertNotIn(b"aigw_", seen.path)
