"""PostgreSQL while it is away, killed or frozen."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from aigw.errors import StateUnavailable
from aigw.state.settings import StateSettings
from aigw.state.stores import State, open_state
from aigw.storage.database import Database
from aigw.storage.dsn import Dsn
from aigw.storage.settings import DatabaseSettings
from aigw.values.counting import Verdict
from tests.state.cache_contract import ANSWER, KEY, UNTIL_MS
from tests.state.counters_contract import NOW_MS, charge, correction, refusal
from tests.storage.own_server import OwnServerTestCase, until


class OutageTests(OwnServerTestCase):
    """What a request sees when PostgreSQL is not there."""

    async def state(self, dsn: Dsn, **settings: Any) -> State:
        """A gateway's stores, in reach."""
        database = Database(reactor, dsn, DatabaseSettings(connections=2))
        # Longer than any machine takes; who tests a deadline gives a short one, and asks with it only what has to fail.
        defaults = {"store": "postgresql", "cache": "postgresql", "deadline_s": 20.0}
        state = open_state(StateSettings(**defaults | settings), reactor, database, lambda: NOW_MS, os.urandom)

        async def close() -> None:
            await state.stop()
            await database.stop()

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        state.start()
        database.start()
        await database.reached()
        return state

    async def test_killed(self) -> None:
        """
        A server that is killed costs an error within the deadline, and no count: what was taken before is there when
        the server is back, and what was to be corrected meanwhile is corrected then.
        """
        server = self.server()
        state = await self.state(await server.start())
        self.assertEqual(await state.counters.take([charge(amount=2)]), Verdict(-1, (2,)))
        # What is on its way to the disk is there within a second; a checkpoint is sooner.
        store: Any = state.counters._store
        await store._database.query("CHECKPOINT")
        self.send(signal.SIGSTOP)
        asked = state.counters.take([charge()])
        self.send(signal.SIGKILL)
        await refusal(lambda: asked)
        # The other connection may outlive that of the question by a moment.
        await until(lambda: not state.counters.available)
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        state.counters.settle([correction(1)])
        state.cache.put(KEY, ANSWER, UNTIL_MS)
        await until(lambda: state.counters.available and state.cache.available)
        await state.counters._settling.when_empty()
        self.assertEqual(await state.counters.take([charge()]), Verdict(-1, (4,)))
        self.assertIsNone(await state.cache.get(KEY, NOW_MS))
        self.assertEqual(state.cache.dropped, 1)

    async def test_frozen(self) -> None:
        """
        A server that falls silent costs one deadline. Then nobody waits until it goes on, and what it took for a
        request that had been turned away is given back.
        """
        dsn = await self.server().start()
        patient, state = await self.state(dsn), await self.state(dsn, deadline_s=0.3)
        self.assertEqual(await patient.counters.take([charge(amount=2)]), Verdict(-1, (2,)))
        self.send(signal.SIGSTOP)
        await refusal(lambda: state.counters.take([charge(amount=8)]))
        self.assertEqual((state.counters.available, state.counters.late), (False, 1))
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        self.send(signal.SIGCONT)
        await until(lambda: state.counters.available and not state.counters._deadlines.running)
        await state.counters._settling.when_empty()
        self.assertEqual(await patient.counters.take([charge()]), Verdict(-1, (3,)))

    async def test_restarted(self) -> None:
        """A restart of the server costs no count."""
        server = self.server()
        state = await self.state(await server.start())
        await state.counters.take([charge(amount=5)])
        await server.stop()
        await until(lambda: not state.counters.available)
        await server.start()
        await until(lambda: state.counters.available)
        self.assertEqual(await state.counters.read([charge()]), (5,))
