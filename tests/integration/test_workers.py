"""A gateway of several processes, of which some are killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import deferLater

from aigw.testing.gateway import GatewayDied, GatewayProcess
from aigw.testing.provider import WAIT, event_stream
from tests.integration import LOOK_S, IntegrationTestCase, fetch, metric
from tests.integration.client import Client, connect
from tests.integration.crowd import Crowd, apart
from tests.integration.limits import ROOM, WHOLE, LimitCase

PARALLEL = 200
# Less than a socket may have in flight.
MANY = 30
PIECE = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
END = b"data: [DONE]\n\n"
POLICY, GOING_AWAY = 1008, 1001


def workers_of(parent: int) -> list[int]:
    """Process ids of a gateway's workers, the oldest first."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in children if b"aigw.worker" in _command(int(pid))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class WorkersCase(IntegrationTestCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.options = ["--workers", "2"]
        self.pids: list[int] = []
        # Cleanups go backwards: this one comes when their parents were killed.
        self.addCleanup(self.gone)
        self.stub = await self.provider()
        self.stub.on("held", event_stream(PIECE, WAIT, PIECE, END))
        self.config = f'[providers.custom-stub]\nbase_url = "{self.stub.url}"\n'

    async def start(self) -> GatewayProcess:
        """Start a gateway."""
        gateway = await super().start()
        self.pids += workers_of(gateway.pid)
        return gateway

    async def gone(self) -> None:
        """Wait until the workers of all starts have ended."""
        await self.until(lambda: not any(b"aigw.worker" in _command(pid) for pid in self.pids))

    async def socket_of(self, gateway: GatewayProcess, worker: int, token: str = "") -> Client:
        """A socket that this worker serves: no other can accept it."""
        others = [pid for pid in workers_of(gateway.pid) if pid != worker]
        for pid in others:
            os.kill(pid, SIGSTOP)
        try:
            client = await connect(self.reactor, gateway.url, token or gateway.token)
        finally:
            for pid in others:
                os.kill(pid, SIGCONT)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def one_each(self, gateway: GatewayProcess, token: str = "") -> list[Client]:
        """A socket of each worker."""
        return [await self.socket_of(gateway, pid, token) for pid in workers_of(gateway.pid)]


class DeathTests(WorkersCase):
    async def test_killed_worker(self) -> None:
        """
        When a worker is killed under load, the other goes on and another takes its place; whatever a client was told
        has its row, and so has what the provider was asked.
        """
        gateway = await self.start()
        dead, alive = workers_of(gateway.pid)
        lost, kept = await self.one_each(gateway)
        lost.ask("held", "custom-stub", model="held", stream=True)
        await lost.began("held")
        for number in range(MANY):
            lost.ask(f"lost-{number}")
            kept.ask(f"kept-{number}")
        await lost.ending("lost-10")
        os.kill(dead, SIGKILL)
        await lost.closed()
        told = [event_id for event_id in lost.messages if lost.ended(event_id)]
        for number in range(MANY):
            self.assertEqual((await kept.ending(f"kept-{number}"))["metadata"]["status"], 200)
        await self.until(lambda: len(workers_of(gateway.pid)) == 2)
        self.assertEqual(workers_of(gateway.pid)[0], alive)
        wanted = {"held", *told, *(f"kept-{number}" for number in range(MANY))}
        while not wanted <= {event_id for event_id, _, _ in await self.rows()}:
            await deferLater(self.reactor, LOOK_S)
        rows = await self.rows()
        self.assertEqual(len(rows), len({event_id for event_id, _, _ in rows}))
        self.assertIn(("held", False), [(event_id, complete) for event_id, _, complete in rows])
        while await metric(self.reactor, gateway.control_url, "aigw_workers") < 2:
            await deferLater(self.reactor, LOOK_S)
        self.assertEqual(await metric(self.reactor, gateway.control_url, "aigw_worker_restarts_total"), 1)
        again = await self.socket_of(gateway, workers_of(gateway.pid)[1])
        again.ask("again")
        await again.ending("again")

    async def test_killed_parent(self) -> None:
        """When the parent is killed, its workers end by themselves; the next start has the port and every log."""
        self.options += ["--drain-s", "60"]
        gateway = await self.start()
        for number, client in enumerate(await self.one_each(gateway)):
            client.ask(f"held-{number}", "custom-stub", model="held", stream=True)
            await client.began(f"held-{number}")
        port = gateway.url.rpartition(":")[2].partition("/")[0]
        await gateway.stop(SIGKILL)
        await self.gone()
        self.options += ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        again = await self.start()
        rows = await self.when_rows(2)
        self.assertEqual([complete for _, _, complete in rows], [False, False])
        self.assertEqual(len(again.urls), 2)

    async def test_drain(self) -> None:
        """SIGTERM to the parent: every worker finishes what runs, closes its sockets, and takes nothing more."""
        gateway = await self.start()
        busy, idle = await self.one_each(gateway), await self.one_each(gateway)
        for number, client in enumerate(busy):
            client.ask(f"running-{number}", "custom-stub", model="held", stream=True)
            await client.began(f"running-{number}")
        gateway.signal(SIGTERM)
        self.assertEqual([await client.closed() for client in idle], [GOING_AWAY] * 2)
        newcomer = Deferred.fromCoroutine(connect(self.reactor, gateway.url, gateway.token))
        await self.assertFailure(newcomer, ConnectionRefusedError)
        for number, client in enumerate(busy):
            self.stub.go(f"req-{number + 1}")
            self.assertTrue((await client.ending(f"running-{number}"))["metadata"]["complete"])
            self.assertEqual(await client.closed(), GOING_AWAY)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        await self.gone()
        self.assertEqual([complete for _, _, complete in await self.rows()], [True, True])

    async def test_second_signal(self) -> None:
        """Who asks twice gets an exit at once, of every process; the next start still has every record."""
        gateway = await self.start()
        (busy, other), idle = await self.one_each(gateway), await self.one_each(gateway)
        for client in (busy, other):
            client.ask(f"running-{id(client)}", "custom-stub", model="held", stream=True)
            await client.began(f"running-{id(client)}")
        gateway.signal(SIGTERM)
        for client in idle:
            await client.closed()
        gateway.signal(SIGTERM)
        self.assertEqual(await gateway.ended(), 1)
        await self.gone()
        await self.start()
        self.assertEqual([complete for _, _, complete in await self.when_rows(2)], [False, False])


class TogetherTests(WorkersCase):
    async def test_metrics(self) -> None:
        """What workers count adds up, and a worker that dies takes nothing of it away."""
        gateway = await self.start()
        first, second = await self.one_each(gateway)
        for number in range(3):
            first.ask(f"first-{number}")
            await first.ending(f"first-{number}")
        second.ask("second")
        await second.ending("second")
        url, name = gateway.control_url, 'aigw_exchanges_total{provider="sandbox",status="2xx"}'
        self.assertEqual(await metric(self.reactor, url, name), 4)
        self.assertEqual(await metric(self.reactor, url, "aigw_sockets"), 2)
        os.kill(workers_of(gateway.pid)[0], SIGKILL)
        await first.closed()
        while await metric(self.reactor, url, "aigw_sockets") != 1:
            await deferLater(self.reactor, LOOK_S)
        self.assertEqual(await metric(self.reactor, url, name), 4)

    async def test_ready(self) -> None:
        """The gateway is ready while one worker is; one that hangs is named, and so it is to `aigw doctor`."""
        gateway = await self.start()
        hanging = workers_of(gateway.pid)[1]
        os.kill(hanging, SIGSTOP)
        try:
            while True:
                status, page = await fetch(self.reactor, f"{gateway.control_url}/ready")
                self.assertEqual(status, 200)
                if (told := json.loads(page))["degraded"]:
                    break
                await deferLater(self.reactor, LOOK_S)
            self.assertIn(" does not answer", told["degraded"][0])
        finally:
            os.kill(hanging, SIGCONT)
        while json.loads((await fetch(self.reactor, f"{gateway.control_url}/ready"))[1])["degraded"]:
            await deferLater(self.reactor, LOOK_S)
        self.assertIn("workers      2 serve", await self.aigw("doctor"))

    async def test_revoked(self) -> None:
        """A new token opens every worker, and closes its sockets on every worker when it is revoked."""
        await self.revoked()

    async def test_revoked_without_database(self) -> None:
        """The same while the database cannot be reached."""
        self.dsn = "host=127.0.0.1 port=1 dbname=nowhere"
        await self.revoked()

    async def revoked(self) -> None:
        gateway = await self.start()
        made = json.loads(await self.aigw("token", "create", "--json"))
        lost, kept = await self.one_each(gateway, made["token"]), await self.one_each(gateway)
        await self.aigw("token", "revoke", made["id"])
        self.assertEqual([await client.closed() for client in lost], [POLICY] * 2)
        for client in kept:
            client.ask("still here")
            await client.ending("still here")


class EmbeddedTests(WorkersCase):
    embedded = True

    async def test_embedded_database(self) -> None:
        """Workers get to the database that their parent has started, and logs of all are found."""
        gateway = await self.start()
        for number, client in enumerate(await self.one_each(gateway)):
            client.ask(f"ask-{number}")
            await client.ending(f"ask-{number}")
        while len(await self.logs()) < 2:
            pass
        self.assertEqual(await gateway.stop(), 0)


class LimitTests(LimitCase):
    """Limits of workers."""

    async def test_shared(self) -> None:
        """Of 200 requests to two workers that count in PostgreSQL, ten pass."""
        self.options = ["--workers", "2"]
        self.config += '[state]\nstore = "postgresql"\ndeadline_s = 20\n'
        gateway = await self.start()
        crowds = [Crowd(self, [gateway], "fixed") for _ in range(4)]
        asked = [Deferred.fromCoroutine(crowd.ask(PARALLEL // 4, WHOLE)) for crowd in crowds]
        passed, refused = apart([one for each in asked for one in await each])
        self.assertEqual((len(passed), len(self.stub.requests)), (ROOM, ROOM))
        self.assertEqual({(one.status, one.code) for one in refused}, {(429, 2003)})

    async def test_unshared_file(self) -> None:
        """A limit in the settings file that workers would each count for themselves keeps them from starting."""
        self.options = ["--workers", "2"]
        died = await self.assertFailure(Deferred.fromCoroutine(self.start()), GatewayDied)
        self.assertIn(
            "gateway[0].rate_limiting_limit: each worker would count for itself; set `state.store`", str(died)
        )

    async def test_unshared_saved(self) -> None:
        """Such a limit is not saved either: not of a gateway, a token or a team."""
        self.options, self.config = ["--workers", "2"], ""
        await self.start()
        limit = ["rate_limiting_limit=1", "rate_limiting_interval=60"]
        for call in (
            ["gateway", "create", "bot", *limit],
            ["token", "create", "--rate", "1/1d"],
            ["team", "create", "red", "--rate", "1/1d"],
        ):
            failure = await self.assertFailure(Deferred.fromCoroutine(self.aigw(*call)), self.failureException)
            self.assertIn("set `state.store`", str(failure))
        await self.aigw("team", "create", "red")
