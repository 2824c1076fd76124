"""How hosts are reached, or not."""

from __future__ import annotations

import socket
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from aigw.errors import ConnectFailed, InvalidField
from aigw.serving.wheel import Wheel
from aigw.testing.provider import ScriptedProvider, json_answer
from aigw.upstream.agent import PooledAgent
from aigw.upstream.names import Names
from aigw.upstream.reach import Reach
from aigw.upstream.settings import UpstreamSettings


class ReachTests(TestCase):
    timeout = 10

    async def setUp(self) -> None:
        self.dead = Event()
        self.names = Names(reactor, 2, self.getaddrinfo)  # type: ignore[arg-type]  # the reactor module is one
        wheel = Wheel(reactor)  # type: ignore[arg-type]  # as above
        self.agent = PooledAgent(Reach(reactor, self.names, []), wheel, UpstreamSettings())
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.provider.on("*", json_answer({}))
        self.port = self.provider.url.rpartition(":")[2].encode()

    async def tearDown(self) -> None:
        self.dead.set()
        self.names.close()
        await self.agent.close()
        await self.provider.close()

    def getaddrinfo(self, name: str, *rest: Any) -> Any:
        if name == "dead.test":
            self.dead.wait()
        if name == "two.test":
            # Nobody listens on the first.
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.2", "127.0.0.1")]
        raise socket.gaierror(-2, "Name or service not known")

    async def test_next_address(self) -> None:
        """A host whose first address does not answer is reached by its second."""
        answer = await self.agent.request(b"GET", b"http://two.test:" + self.port + b"/")
        self.assertEqual(answer.code, 200)

    async def test_no_such_host(self) -> None:
        """A name that nobody knows is told as such."""
        with self.assertRaises(ConnectFailed) as caught:
            await self.agent.request(b"GET", b"https://gone.test/")
        self.assertEqual(caught.exception.detail, "there is no such host as gone.test")

    async def test_given_up_while_looking_up(self) -> None:
        """A client that leaves during a look-up that hangs leaves nothing behind, and its end disturbs nobody."""
        asking = self.agent.request(b"GET", b"http://dead.test/")
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        self.assertEqual(self.agent.connections, 0)

    async def test_impossible_names(self) -> None:
        """A host name that cannot be one is refused, not raised into the caller."""
        for host in (b"a..b", b"x" * 64 + b".test", b"-.test"):
            for scheme in (b"http://", b"https://"):
                with self.assertRaises((InvalidField, ConnectFailed)):
                    await self.agent.request(b"GET", scheme + host + b"/")
