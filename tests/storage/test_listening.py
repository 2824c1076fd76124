"""Listeners and the connection they share."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.storage.dsn import read_dsn
from aigw.storage.link import Link
from aigw.storage.listening import Ear
from aigw.testing.postgres import fresh_database
from tests.storage.own_server import until


class EarTests(TestCase):
    """Who hears what."""

    timeout = 30

    async def link(self, dsn: str) -> Link:
        """An open connection."""
        link = Link(reactor, answer_s=20.0)
        self.addCleanup(link.close)
        await link.open(read_dsn(dsn), connect_s=5.0)
        return link

    async def test_channels_are_apart(self) -> None:
        """Each listener hears its own channel, also one that came after the connection; a failing one bars no other."""
        dsn = await fresh_database(reactor)
        sender = await self.link(dsn)
        heard: list[tuple[str, str | None]] = []
        ear = Ear()
        ear.add("a", lambda payload: 1 / 0)
        ear.add("a", lambda payload: heard.append(("a", payload)))
        await ear.attach(await self.link(dsn))
        ear.add("b", lambda payload: heard.append(("b", payload)))
        await until(lambda: heard == [("a", None), ("b", None)])
        for channel in ("b", "c", "a"):
            await sender.query("SELECT pg_notify(%s, 'x')", (channel,))
        await until(lambda: heard[2:] == [("b", "x"), ("a", "x")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_a_closed_connection(self) -> None:
        """With its connection closed nothing is heard, and closing without one does no harm."""
        ear = Ear()
        ear.close("nothing there")
        link = await self.link(await fresh_database(reactor))
        closed: Deferred[None] = Deferred()
        link.when_closed(lambda: closed.callback(None))
        await ear.attach(link)
        ear.close("enough")
        await closed
        self.assertEqual(link.why, "enough")
