"""Our own gateway, in a process of its own, with the settings of `gateway.toml`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from aigw.testing.elsewhere import elsewhere
from benchmarks.parent import ROOT, program
from benchmarks.processes import postgres_of

CONFIG = Path(__file__).with_name("gateway.toml")
START_S = 60.0
LOOK_S = 0.05
# So long without a new row, and no more will come.
STILL_S = 5.0

_APPLICATIONS = re.compile(r"applications\s+(ws://\S+?)/v1/local/default")
_OPERATORS = re.compile(r"operators\s+(\S+)")
_TOKEN = re.compile(r"token\s+(aigw_\S+)")
_METRIC = re.compile(r"^(\w+?)(?:_total)?(\{[^}]*\})? (\S+)$", re.MULTILINE)

# The token that the load shows to the gateway with controls. Its bounds are wide: what counts is that they are looked
# at.
_TOKEN_BOUNDS = (*("--scope", "run", "--user", "bench", "--model", "gpt-*", "--provider", "openai"),)
# What cannot stand in the settings file.
_POLICY = (
    *("policy", "create", "--gateway", "controlled", "--name", "bench", "--actor", "team:{metadata.team}"),
    *("--condition", 'metadata.team == "search"', "--action", "1000000/daily", "--commit"),
)


class Gateway:
    """
    A gateway that runs.

    Args:
        pid: Of its process.
        output: What a start has printed.
        folder: Its data folder.

    Attributes:
        host, port: Of the data port.
        token, bounded_token: The owner's first one, without bounds; and one with them.
        missing: Controls that could not be switched on, and why.
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
        self.token = self.bounded_token = token[1]
        self.missing: list[str] = []
        self._folder = folder
        self._connection: Any = None

    async def set_up(self) -> None:
        """Make the token with bounds and the policy; a control that cannot be had is told, and listed as missing."""
        made = await self._command("token", "create", "--name", "bench", *_TOKEN_BOUNDS)
        self.bounded_token = made.split()[0] if made else self.token
        await self._command(*_POLICY)

    async def _command(self, *words: str) -> str:
        """Run `aigw`; what it printed, empty when it failed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aigw.cli", "--data-dir", str(self._folder), *words),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
        )
        output, trouble = await process.communicate()
        if process.returncode:
            self.missing.append(f"{words[0]}: {trouble.decode().strip().splitlines()[-1]}")
            return ""
        return output.decode()

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

    @contextmanager
    def database_frozen(self) -> Iterator[None]:
        """
        Let PostgreSQL do nothing until the block is left, so that no log is shipped.

        The gateway waits for its answer, without trying again for as long as `[pool] answer_s` says.
        """
        frozen = postgres_of(self.pid)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Leave the database alone, so that it can stop."""
        if self._connection is not None:
            self._connection.close()


@asynccontextmanager
async def gateway(
    folder: Path,
    stub_port: int,
    more: str = "",
    turns: Path | None = None,
    options: Sequence[str] = (),
    store: str = "memory",
) -> AsyncIterator[Gateway]:
    """
    Run a gateway until the block is left.

    Args:
        folder: Empty; for its data and its output.
        stub_port: Of the provider.
        more: Lines put behind the settings file's own, which end with a table.
        turns: Where it writes how long it held the reactor, see `benchmarks.turns`; None: it does not look.
        options: More of the command line.
        store: Where limits are counted, as in the settings.
    """
    config = folder / "aigw.toml"
    config.write_text(Template(CONFIG.read_text()).substitute(STUB=stub_port, STORE=store) + more)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("AIGW_")}
    environ |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "AIGW_POSTGRES_ELSEWHERE": elsewhere()}
    start = ("-m", "benchmarks.turns", str(turns)) if turns else ("-c", "from twisted.scripts.twistd import run; run()")
    command = [sys.executable, *start, "--nodaemon", "--pidfile=", "aigateway", "--config", str(config)]
    command += ["--data-dir", str(folder / "data"), "--listen", "tcp:0:interface=127.0.0.1"]
    command += ["--control", "tcp:0:interface=127.0.0.1", *options]
    log = folder / "gateway.log"
    async with program(*command, log=log, environ=environ, cwd=folder) as process:
        output = await _until_ready(process, log)
        running = Gateway(process.pid, output, folder / "data")
        # Until the database is there, nothing would be shipped, and its start would count as a run's CPU.
        while not (await running.metrics())["aigw_database_available"]:
            await asyncio.sleep(LOOK_S)
        await running.set_up()
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
