from __future__ import annotations

import os
from itertools import count
from signal import SIGCONT, SIGSTOP

from twisted.internet.defer import Deferred

from aigw.storage.postmaster import processes_of
from tests.integration import IntegrationTestCase
from tests.integration.client import Client

BEFORE_S = 3.0
FROZEN_S = 10.0
AT_ONCE = 20
NOWHERE = "host=127.0.0.1 port=1 dbname=aigw user=aigw connect_timeout=1"


class NoDatabaseTests(IntegrationTestCase):
    """A gateway whose database was never there."""

    async def test_fresh_start(self) -> None:
        """On a fresh folder and without its database it starts, makes a token, serves, and is ready."""
        there, self.dsn = self.dsn, NOWHERE
        gateway = await self.start()
        client = await self.connect(gateway)
        client.ask("spooled")
        self.assertEqual((await client.ending("spooled"))["metadata"]["status"], 200)
        self.assertEqual(await gateway.stop(), 0)
        self.dsn = there
        await self.start()
        self.assertEqual(await self.when_rows(1), [("spooled", 0, True)])


class FrozenDatabaseTests(IntegrationTestCase):
    """A database that is stopped in the middle of its work."""

    timeout = 180

    async def test_ten_seconds(self) -> None:
        """Requests are served as before while the database is frozen for ten seconds, and all rows arrive after it."""
        self.config = "[spool]\nsegment_bytes = 1048576\n"
        gateway = await self.start()
        load = Load(self, await self.connect(gateway))
        await load.run(BEFORE_S)
        before = load.finished / BEFORE_S
        database = processes_of(self.cluster)
        self.addCleanup(_signal, database, SIGCONT)
        _signal(database, SIGSTOP)
        load.restart()
        thaw = self.reactor.callLater(FROZEN_S, _signal, database, SIGCONT)
        self.addCleanup(lambda: thaw.active() and thaw.cancel())
        await load.run(FROZEN_S)
        self.assertGreater(load.finished / FROZEN_S, before / 2)
        # Whoever waited for the database would have waited for most of the time.
        self.assertLess(load.slowest_s, FROZEN_S / 2)
        rows = await self.when_rows(load.asked)
        self.assertEqual(sorted(event_id for event_id, _, _ in rows), sorted(f"load-{n}" for n in range(load.asked)))


class Load:
    """
    Keeps so many requests in flight on a client, a new one for each that ends.

    Attributes:
        asked: Requests sent.
        finished: Those that ended since the last `restart`.
        slowest_s: How long the slowest of them took.
    """

    def __init__(self, test: IntegrationTestCase, client: Client) -> None:
        self._clock = test.reactor
        self._client = client
        self._numbers = count()
        self.asked = 0
        self.restart()

    def restart(self) -> None:
        """Count from 0."""
        self.finished = 0
        self.slowest_s = 0.0

    async def run(self, duration_s: float) -> None:
        """Work for some time, and until the last request has ended."""
        until = self._clock.seconds() + duration_s
        workers = [Deferred.fromCoroutine(self._work(until)) for _ in range(AT_ONCE)]
        for worker in workers:
            await worker

    async def _work(self, until: float) -> None:
        while self._clock.seconds() < until:
            event_id = f"load-{next(self._numbers)}"
            self.asked += 1
            sent = self._clock.seconds()
            self._client.ask(event_id, model="slow-5")
            await self._client.ending(event_id)
            self.finished += 1
            self.slowest_s = max(self.slowest_s, self._clock.seconds() - sent)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class FrozenStopTests(IntegrationTestCase):
    """A stop while the database does not answer."""

    embedded = True

    async def test_stop(self) -> None:
        """The gateway ends in order without the frozen database's answer; what it did not ship is there afterwards."""
        # Longer than this test may take: only a stop that does not wait for the statement passes.
        self.config = "[pool]\nstatement_s = 3000\nanswer_s = 3600\n"
        gateway = await self.start()
        client = await self.connect(gateway)
        database = processes_of(self.cluster)
        self.addCleanup(_signal, database, SIGCONT)
        _signal(database, SIGSTOP)
        client.ask("unshipped")
        await client.ending("unshipped")
        self.assertEqual(await gateway.stop(), 0)
        await self.start()
        # Each look is a process of its own, so this does not spin.
        while not (logs := await self.logs()):
            pass
        self.assertEqual([log["event_id"] for log in logs], ["unshipped"])
