from __future__ import annotations

import os
from signal import SIGKILL, SIGTERM

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError

from aigw.storage.postmaster import processes_of
from aigw.testing.provider import WAIT, Script, event_stream
from tests.integration import IntegrationTestCase
from tests.integration.client import connect

DRAINING = 4010
DRAINED = 4992
PIECE = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
END = b"data: [DONE]\n\n"


class DrainTests(IntegrationTestCase):
    """SIGTERM to a gateway at work."""

    async def setUp(self) -> None:
        await super().setUp()
        self.stub = await self.provider()
        self.stub.on("held", _held())
        self.stub.on("silent", (WAIT,))
        self.config = f'[providers.custom-stub]\nbase_url = "{self.stub.url}"\n'

    async def test_in_order(self) -> None:
        """Idle sockets are closed, what runs is finished, what is new is told to come back, and all of it is logged."""
        gateway = await self.start()
        idle, busy = await self.connect(gateway), await self.connect(gateway)
        busy.ask("running", "custom-stub", model="held", stream=True)
        await busy.began("running")
        gateway.signal(SIGTERM)
        self.assertEqual(await idle.closed(), 1001)
        busy.ask("late")
        refusal = (await busy.ending("late"))["response"]
        self.assertEqual((refusal["internalCode"], refusal["retryable"]), (DRAINING, True))
        newcomer = Deferred.fromCoroutine(connect(self.reactor, gateway.url, gateway.token))
        await self.assertFailure(newcomer, ConnectionRefusedError)
        self.assertIsNone(gateway.code)
        self.stub.go("req-1")
        self.assertTrue((await busy.ending("running"))["metadata"]["complete"])
        self.assertEqual(await busy.closed(), 1001)
        self.assertEqual(await gateway.ended(), 0)
        rows = await self.rows()
        self.assertEqual(sorted(rows), [("late", DRAINING, False), ("running", 0, True)])

    async def test_out_of_time(self) -> None:
        """What is not over after `drain_s` gets an ending that says so, and the exit is in order all the same."""
        self.options = ["--drain-s", "0.2"]
        gateway = await self.start()
        client = await self.connect(gateway)
        client.ask("streaming", "custom-stub", model="held", stream=True)
        await client.began("streaming")
        client.ask("waiting", "custom-stub", model="silent")
        await self.stub.when_requested(2)
        gateway.signal(SIGTERM)
        streaming = (await client.ending("streaming"))["metadata"]
        self.assertEqual((streaming["complete"], streaming["error"]["code"]), (False, DRAINED))
        self.assertEqual((await client.ending("waiting"))["response"]["internalCode"], DRAINED)
        self.assertEqual(await client.closed(), 1001)
        self.assertEqual(await gateway.ended(), 0)
        rows = await self.rows()
        self.assertEqual(sorted(rows), [("streaming", DRAINED, False), ("waiting", DRAINED, False)])
        await self.stub.when_stopped(2)

    async def test_second_signal(self) -> None:
        """Who asks twice gets an exit at once, with code 1; the next start still has every record."""
        gateway = await self.start()
        idle, busy = await self.connect(gateway), await self.connect(gateway)
        busy.ask("done")
        await busy.ending("done")
        busy.ask("running", "custom-stub", model="held", stream=True)
        await busy.began("running")
        gateway.signal(SIGTERM)
        await idle.closed()
        gateway.signal(SIGTERM)
        self.assertEqual(await gateway.ended(), 1)
        await self.start()
        rows = await self.when_rows(2)
        self.assertEqual([event_id for event_id, _, _ in rows], ["done", "running"])
        self.assertEqual([complete for _, _, complete in rows], [True, False])


class EmbeddedDatabaseTests(IntegrationTestCase):
    """The database that the gateway brings, when something is killed."""

    embedded = True

    async def test_orphan(self) -> None:
        """A killed gateway leaves its PostgreSQL behind; the next start takes the database over, with all logs."""
        first = await self.start()
        client = await self.connect(first)
        client.ask("before")
        await client.ending("before")
        await first.stop(SIGKILL)
        orphans = processes_of(self.cluster)
        self.assertNotEqual(orphans, [])
        second = await self.start()
        client = await self.connect(second)
        client.ask("after")
        await client.ending("after")
        await self._logged("after", "before")
        self.assertNotIn(orphans[0], processes_of(self.cluster))
        self.assertEqual(await second.stop(), 0)
        self.assertEqual(processes_of(self.cluster), [])

    async def test_killed_database(self) -> None:
        """When its PostgreSQL is killed, the gateway serves on and starts it again; every log arrives."""
        gateway = await self.start()
        client = await self.connect(gateway)
        client.ask("before")
        await client.ending("before")
        await self._logged("before")
        for pid in processes_of(self.cluster):
            os.kill(pid, SIGKILL)
        client.ask("meanwhile")
        self.assertEqual((await client.ending("meanwhile"))["metadata"]["status"], 200)
        await self._logged("meanwhile", "before")

    async def _logged(self, *event_ids: str) -> None:
        """Wait until these are the logs, newest first; the test's own clock bounds the waiting."""
        while True:
            try:
                if [log["event_id"] for log in await self.logs()] == list(event_ids):
                    return
            except self.failureException:
                # While the database is away, the command says so and fails.
                pass


def _held() -> Script:
    """A stream that ends when the test lets it."""
    return event_stream(PIECE, WAIT, PIECE, END)
