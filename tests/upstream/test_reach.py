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
        self.agent = PooledAgent(Reach(reactor, self.names, []), wheel, UpstreamSettings(), trusted=True)
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


class Detour:
    """The reactor, but whatever address is asked for, the connection goes to loopback; `asked` tells which it was."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def connectTCP(self, host: str, port: int, *rest: Any, **named: Any) -> Any:
        self.asked.append(host)
        return reactor.connectTCP("127.0.0.1", port, *rest, **named)  # type: ignore[attr-defined]  # as above


class PrivateAddressTests(TestCase):
    """What a request names must be on the public internet, unless it is the operator's own word."""

    timeout = 10

    async def setUp(self) -> None:
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.provider.on("*", json_answer({}))
        self.port = self.provider.url.rpartition(":")[2]
        self.detour = Detour()
        self.answers: list[tuple[str, ...]] = []
        self.agents: list[PooledAgent] = []
        self.public = self.agent()
        self.trusted = self.agent(trusted=True)

    def agent(self, allow_private: bool = False, trusted: bool = False) -> PooledAgent:
        names = Names(reactor, 2, self.getaddrinfo)  # type: ignore[arg-type]  # as above
        self.addCleanup(names.close)
        reach = Reach(self.detour, names, [], allow_private)
        agent = PooledAgent(reach, Wheel(reactor), UpstreamSettings(), trusted)  # type: ignore[arg-type]  # as above
        self.agents.append(agent)
        return agent

    async def tearDown(self) -> None:
        for agent in self.agents:
            await agent.close()
        await self.provider.close()

    def getaddrinfo(self, name: str, *rest: Any) -> Any:
        """The next of the answers."""
        found = self.answers.pop(0)
        kinds = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in found]
        return [(kind, socket.SOCK_STREAM, 6, "", (host, 0)) for kind, host in zip(kinds, found, strict=True)]

    async def ask(self, agent: PooledAgent, host: str = "api.test", scheme: str = "http") -> str:
        """The error's text, empty when there was an answer."""
        try:
            answer = await agent.request(b"GET", f"{scheme}://{host}:{self.port}/".encode())
        except ConnectFailed as error:
            return error.detail
        answer.stopProducing()
        return ""

    async def test_private_addresses(self) -> None:
        """No connection is made to an address within our own network, however it is written."""
        for host in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "localhost"):
            for scheme in ("http", "https"):
                told = await self.ask(self.public, host, scheme)
                self.assertEqual(told, f"{host.strip('[]')} has a private address, which the operator does not allow")
        self.assertEqual((self.detour.asked, self.provider.connections), ([], 0))

    async def test_names_of_private_addresses(self) -> None:
        """A name helps as little, nor does a number that only the system's resolver takes for an address."""
        for host, found in (("api.test", "192.168.0.7"), ("api.test", "fd00::1"), ("2130706433", "127.0.0.1")):
            self.answers.append((found,))
            self.assertIn("private address", await self.ask(self.public, host))
        self.assertEqual((self.detour.asked, self.provider.connections), ([], 0))

    async def test_public_addresses(self) -> None:
        """Of a name's addresses only the public ones are tried."""
        self.answers.append(("10.0.0.1", "8.8.8.8", "::1"))
        self.assertEqual(await self.ask(self.public), "")
        self.assertEqual(self.detour.asked, ["8.8.8.8"])

    async def test_rebinding(self) -> None:
        """A name that was public the first time, and is private the second, is judged by each connection's address."""
        self.answers += [("8.8.8.8",), ("127.0.0.1",)]
        self.assertEqual(await self.ask(self.public), "")
        self.assertIn("private address", await self.ask(self.public))
        self.assertEqual((self.detour.asked, self.provider.connections), (["8.8.8.8"], 1))

    async def test_operators_word(self) -> None:
        """What the operator has named is reached wherever it is; so is everything where the operator allows it."""
        for agent in (self.trusted, self.agent(allow_private=True)):
            self.assertEqual(await self.ask(agent, "127.0.0.1"), "")
        self.assertEqual(self.provider.connections, 2)
