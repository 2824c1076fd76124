"""Our own gateway, in a process of its own, with the settings of `gateway.toml`."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from aigw.testing.elsewhere import elsewhere
from benchmarks.parent import ROOT, program

CONFIG = Path(__file__).with_name("gateway.toml")
START_S = 60.0
LOOK_S = 0.05
# So long without a new row, and no more will come.
STILL_S = 5.0

_APPLICATIONS = re.compile(r"applications\s+(ws://\S+?)/v1/local/default")
_OPERATORS = re.compile(r"operators\s+(\S+)")
_TOKEN = re.compile(r"token\s+(aigw_\S+)")
_METRIC = re.compile(r"^(\w+?)(?:_total)?(\{[^}]*\})? (\S+)$", re.MULTILINE)

# Of the token that the load shows. The bounds are wide: what counts is that they are looked at.
TOKEN_OPTIONS: tuple[str, ...] = ("--scope", "run")


class Gateway:
    """
    A gateway that runs.

    Args:
        pid: Of its process.
        output: What a start has printed.
        folder: Its data folder.

    Attributes:
        host, port: Of the data port.
        token: The owner's first one, until `make_token` has made another.
    """

    def __init__(self, pid: int, output: str, folder: Path) -> None:
        applications, operators = _APPLICATIONS.search(output), _OPERATORS.search(output)
        token = _TOKEN.search(output)
        if applications is None or operators is None or token is None:
            raise RuntimeError(f"this is no start of a gateway:\n{output}")
        address = urlsplit(applications[1])
        self.pid = pid
        self.host, self.port = address.hostname or "", address.port or 0
        self.control_url = operators[1]
        self.token = token[1]
        self._folder = folder
        self._connection: Any = None

    async def make_token(self) -> None:
        """Use a token made by `aigw token create`, with bounds, instead of the first one."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aigw.cli", "token", "create", "--name", "bench", "--data-dir"),
            str(self._folder),
            *TOKEN_OPTIONS,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
        )
        output, trouble = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"no token: {trouble.decode()}")
        self.token = output.decode().split()[0]

    async def metrics(self) -> dict[str, float]:
        """Every number of `/metrics`, by its name and labels, without the suffix `_total`."""
        text = await asyncio.to_thread(self._scrape)
        return {name + (labels or ""): float(value) for name, labels, value in _METRIC.findall(text)}

    def _scrape(self) -> str:
        with urllib.request.urlopen(f"{self.control_url}/metrics", timeout=10) as answer:
            page: bytes = answer.read()
        return page.decode()

    async def shipped(self, rows: int) -> None:
        """
        Wait until the database has so many logs, or gets no more of them.

        PostgreSQL is asked and not the gateway, whose CPU the question would be counted as.
        """
        before, still_s = -1, 0.0
        while before < rows and still_s < STILL_S:
            await asyncio.sleep(LOOK_S)
            now = await self.rows()
            still_s = 0.0 if now != before else still_s + LOOK_S
            before = now

    async def rows(self, gateway: str = "", exactly: bool = False) -> int:
        """
        How many logs PostgreSQL has.

        Args:
            gateway: Of this one; empty: of all.
            exactly: Count them one by one, instead of believing the database's own sum.
        """
        query = "SELECT count(*) FROM logs l" if exactly else "SELECT coalesce(sum(count), 0) FROM live_rows l"
        if gateway:
            query += " JOIN gateways g ON g.id = l.gateway WHERE g.name = %s"
        return int((await asyncio.to_thread(self._query, query, (gateway,) if gateway else ()))[0])

    def _query(self, query: str, values: tuple[str, ...]) -> Any:
        if self._connection is None:
            location = self._folder / "postgres.location"
            root = location.read_text().strip() if location.exists() else str(self._folder / "postgres")
            self._connection = psycopg2.connect(host=root, port=5432, user="aigw", dbname="aigw")
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchone()

    def close(self) -> None:
        """Leave the database alone, so that it can stop."""
        if self._connection is not None:
            self._connection.close()


@asynccontextmanager
async def gateway(folder: Path, stub_port: int, more: str = "", turns: Path | None = None) -> AsyncIterator[Gateway]:
    """
    Run a gateway until the block is left.

    Args:
        folder: Empty; for its data and its output.
        stub_port: Of the provider.
        more: Lines put before the settings file's own, such as a `database`.
        turns: Where it writes how long it held the reactor, see `benchmarks.turns`; None: it does not look.
    """
    config = folder / "aigw.toml"
    config.write_text(more + Template(CONFIG.read_text()).substitute(STUB=stub_port))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("AIGW_")}
    environ |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "AIGW_POSTGRES_ELSEWHERE": elsewhere()}
    start = ("-m", "benchmarks.turns", str(turns)) if turns else ("-c", "from twisted.scripts.twistd import run; run()")
    command = [sys.executable, *start, "--nodaemon", "--pidfile=", "aigateway", "--config", str(config)]
    command += ["--data-dir", str(folder / "data"), "--listen", "tcp:0:interface=127.0.0.1"]
    command += ["--control", "tcp:0:interface=127.0.0.1"]
    log = folder / "gateway.log"
    async with program(*command, log=log, environ=environ, cwd=folder) as process:
        output = await _until_ready(process, log)
        running = Gateway(process.pid, output, folder / "data")
        await running.make_token()
        # Until the database is there, nothing would be shipped, and its start would count as a run's CPU.
        while "database" not in more and not (await running.metrics())["aigw_database_available"]:
            await asyncio.sleep(LOOK_S)
        try:
            yield running
        finally:
            running.close()


async def _until_ready(process: asyncio.subprocess.Process, log: Path) -> str:
    deadline = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < deadline and process.returncode is None:
        output = log.read_text(errors="replace")
        if "is ready" in output and "token" in output:
            return output
        await asyncio.sleep(LOOK_S)
    raise RuntimeError(f"the gateway did not start:\n{log.read_text(errors='replace')}")
