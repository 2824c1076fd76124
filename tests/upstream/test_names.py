"""Names looked up without holding anyone up."""

from __future__ import annotations

import socket
from threading import Event, current_thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from aigw.upstream.names import Names


@implementer(IResolutionReceiver)
class Found:
    def __init__(self) -> None:
        self.addresses: list[tuple[str, str, int]] = []
        self.done: Deferred[None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None: ...

    def addressResolved(self, address: Any) -> None:
        self.addresses.append((type(address).__name__, address.host, address.port))

    def resolutionComplete(self) -> None:
        self.done.callback(None)


class NamesTests(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.asked: list[str] = []
        self.threads: set[str] = set()
        self.dead = Event()
        self.names = Names(reactor, 2, self.getaddrinfo)  # type: ignore[arg-type]  # the reactor module is one
        self.addCleanup(self.names.close)
        self.addCleanup(self.dead.set)

    def getaddrinfo(self, name: str, *rest: Any) -> Any:
        self.asked.append(name)
        self.threads.add(current_thread().name)
        if name.startswith("dead"):
            self.dead.wait()
            raise socket.gaierror(-2, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
        ]

    def look_up(self, name: str, port: int = 443) -> Found:
        found = Found()
        self.names.resolveHostName(found, name, port)
        return found

    async def test_look_up(self) -> None:
        """A name gives its addresses, each once, in the resolver's order."""
        found = self.look_up("api.test")
        await found.done
        self.assertEqual(found.addresses, [("IPv6Address", "2001:db8::1", 443), ("IPv4Address", "192.0.2.1", 443)])

    def test_no_look_up(self) -> None:
        """Addresses and `localhost` are known at once, whatever the name servers do."""
        for name, hosts in (
            ("127.0.0.1", ["127.0.0.1"]),
            ("::1", ["::1"]),
            ("localhost", ["127.0.0.1", "::1"]),
            ("LOCALHOST.", ["127.0.0.1", "::1"]),
        ):
            found = self.look_up(name)
            self.assertTrue(found.done.called)
            self.assertEqual([host for _, host, _ in found.addresses], hosts)
        self.assertEqual(self.asked, [])

    async def test_shared(self) -> None:
        """Many requests for one name wait for one look-up, each with its own port."""
        found = [self.look_up("dead.test", port) for port in (1, 2, 3)]
        self.dead.set()
        for each in found:
            await each.done
        self.assertEqual((self.asked, [each.addresses for each in found]), (["dead.test"], [[], [], []]))

    async def test_dead_names_hold_up_nobody_else(self) -> None:
        """While names that nobody answers for fill our threads, the reactor's own are free."""
        dead = [self.look_up(f"dead{n}.test") for n in range(25)]
        self.assertEqual(await deferToThread(lambda: 42), 42)
        self.assertFalse(any(each.done.called for each in dead))
        self.dead.set()
        for each in dead:
            await each.done
        self.assertTrue(all("aigw-names" in name for name in self.threads))
        self.assertLessEqual(len(self.threads), 2)

    async def test_closed(self) -> None:
        """After the end no name is found, and nobody waits for threads that hang."""
        self.look_up("dead.test")
        self.names.close()
        found = self.look_up("api.test")
        await found.done
        self.assertEqual(found.addresses, [])
