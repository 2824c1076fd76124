"""The whole product: a real gateway process, a real PostgreSQL, real sockets."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psycopg2
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody

from aigw.storage.postmaster import end_processes
from aigw.testing.elsewhere import elsewhere
from aigw.testing.gateway import GatewayProcess
from aigw.testing.postgres import fresh_database
from aigw.testing.provider import ScriptedProvider
from tests.integration.client import Client, connect

LOOK_S = 0.05
_ROOT = Path(__file__).parents[2]


async def fetch(reactor: Any, url: str) -> tuple[int, bytes]:
    """Status and body of a GET."""
    response = await Agent(reactor, connectTimeout=10).request(b"GET", url.encode())
    return response.code, await readBody(response)


async def metric(reactor: Any, control_url: str, name: str) -> float:
    """A metric without labels, from a control port."""
    _, page = await fetch(reactor, f"{control_url}/metrics")
    return next(float(line.split()[1]) for line in page.decode().splitlines() if line.startswith(f"{name} "))


class IntegrationTestCase(TestCase):
    """
    A test with gateways in processes of their own.

    Attributes:
        data_dir: Of the gateway; does not exist yet.
        dsn: Of its database; empty where the gateway brings its own.
        config: Content of its settings file.
        options: More of its command line.
        environ: More of its environment.
    """

    timeout = 120
    embedded = False

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        folder = Path(tempfile.mkdtemp(prefix="aigw-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        # The embedded database's unprivileged user passes through.
        folder.chmod(0o711)
        self.data_dir = folder / "data"
        self.dsn = "" if self.embedded else await fresh_database(reactor)
        self.config = ""
        self.options: list[str] = []
        self.environ = {"AIGW_POSTGRES_ELSEWHERE": elsewhere(), "AIGW_POSTGRES_SYNC": "false"} if self.embedded else {}
        self._token = ""

    async def start(self) -> GatewayProcess:
        """Start a gateway on the data folder, its own database included; it keeps the first start's token."""
        options = [*self.options, *(["--database", self.dsn] if self.dsn else [])]
        gateway = GatewayProcess.spawn(self.reactor, self.data_dir, options, self.config, self.environ)
        self.addCleanup(self._end, gateway)
        await gateway.ready()
        self._token = gateway.token = gateway.token or self._token
        if self.embedded:
            await self.reached(gateway)
        return gateway

    async def reached(self, gateway: GatewayProcess) -> None:
        """Wait until a gateway has its database; without that, or before it has started, it is ready all the same."""
        while not await metric(self.reactor, gateway.control_url, "aigw_database_available"):
            await deferLater(self.reactor, LOOK_S)

    async def _end(self, gateway: GatewayProcess) -> None:
        """Leave nothing of a gateway, nor of the database that it brought."""
        await gateway.stop(SIGKILL)
        if not self.dsn:
            await end_processes(self.reactor, self.cluster, 5.0)
            if self.home != self.data_dir / "postgres":
                shutil.rmtree(self.home, ignore_errors=True)

    @property
    def home(self) -> Path:
        """Folder of the embedded database."""
        pointer = self.data_dir / "postgres.location"
        return Path(pointer.read_text().strip()) if pointer.exists() else self.data_dir / "postgres"

    @property
    def cluster(self) -> Path:
        """Where the embedded database works, or else the one of all tests."""
        if not self.dsn:
            return self.home / "data"
        return Path(psycopg2.extensions.parse_dsn(self.dsn)["host"]) / "data"

    async def connect(self, gateway: GatewayProcess) -> Client:
        """A client of a gateway, gone with the test."""
        client = await connect(self.reactor, gateway.url, gateway.token)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def provider(self) -> ScriptedProvider:
        """A provider, gone with the test."""
        provider = ScriptedProvider(self.reactor)
        await provider.start()
        self.addCleanup(provider.close)
        return provider

    async def aigw(self, *arguments: str) -> str:
        """What `aigw` prints for the gateway of this test."""
        command = [
            "-c",
            "import sys; from aigw.cli import main; sys.exit(main())",
            *arguments,
            "--data-dir",
            str(self.data_dir),
        ]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        out, err, code = await getProcessOutputAndValue(sys.executable, command, environment)
        self.assertEqual(code, 0, err.decode())
        return str(out.decode())

    async def logs(self, limit: int = 200) -> list[dict[str, Any]]:
        """What `aigw logs list` knows, newest first."""
        text = await self.aigw("logs", "list", "--json", "--limit", str(limit))
        return [json.loads(line) for line in text.splitlines()]

    async def rows(self, columns: str = "event_id, error_code, complete") -> list[tuple[Any, ...]]:
        """Columns of all logs, oldest first, straight from the database."""
        return await self.query(f"SELECT {columns} FROM logs ORDER BY id")

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database answers, asked by nobody but the test."""
        return await deferToThread(_query, self.dsn, statement)

    async def when_rows(self, count: int, columns: str = "event_id, error_code, complete") -> list[tuple[Any, ...]]:
        """The same, once there are so many; the test's own clock bounds the waiting."""
        while len(rows := await self.rows(columns)) < count:
            await deferLater(self.reactor, LOOK_S)
        return rows

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; the test's own clock bounds the waiting."""
        while not condition():
            await deferLater(self.reactor, LOOK_S)


def _query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()
