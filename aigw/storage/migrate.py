"""Brings the schema up to date: numbered files, each applied once, in order, whoever starts first."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from importlib.resources import files
from typing import Any

import attrs
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aigw.errors import SchemaChanged, SchemaTooNew
from aigw.storage.link import Link

PACKAGE = "aigw.storage.migrations"
# Any number, as long as it never changes and nobody else's advisory lock has it.
LOCK = 4_201_787
LOCK_RETRY_S = 0.1
# A step may have to rewrite or index a large table.
STEP_S = 6 * 3600.0

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS aigw_migrations (
        number      integer PRIMARY KEY,                 -- the file's number
        name        text NOT NULL,                       -- the file's name without number and ending
        sha256      text NOT NULL,                       -- of the file's bytes
        applied_at  timestamptz NOT NULL DEFAULT now()   -- when
    )
"""

_log = Logger()


@attrs.frozen
class Migration:
    """
    One step of the schema.

    Attributes:
        number, name: From the file's name, `NNNN_name.sql`.
        sql: Its text.
    """

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Proves that what was applied is what stands here."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """The steps that this release knows, in order."""
    found = []
    for file in files(PACKAGE).iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(found, key=lambda each: each.number)


async def migrate(link: Link, migrations: list[Migration] | None = None) -> None:
    """
    Apply what is missing.

    Several processes may start at once: one applies, the others ask again every 0.1 s, so that no statement of theirs
    waits on the server for longer than a frozen server may be silent.

    Args:
        link: An open connection with nothing running on it.
        migrations: What there should be; None for what the package holds.
    Raises:
        SchemaTooNew: The database has a step that is not here.
        SchemaChanged: A step was applied with another text than it has here.
    """
    wanted = packaged_migrations() if migrations is None else migrations
    if not await _missing(link, wanted):
        return
    while not (await link.query("SELECT pg_try_advisory_lock(%s)", (LOCK,)))[0][0]:
        await deferLater(link.reactor, LOCK_RETRY_S)
    try:
        await link.query(CREATE_TABLE)
        for step in await _missing(link, wanted):
            await link.transact(partial(_apply, step), answer_s=STEP_S)
            _log.info("Applied migration {number} ({name})", number=step.number, name=step.name)
    finally:
        await link.query("SELECT pg_advisory_unlock(%s)", (LOCK,))


async def _missing(link: Link, wanted: list[Migration]) -> list[Migration]:
    """The steps that have yet to be applied, after a check of those that have been."""
    rows: list[tuple[Any, ...]] = []
    if (await link.query("SELECT to_regclass('aigw_migrations')"))[0][0] is not None:
        rows = await link.query("SELECT number, name, sha256 FROM aigw_migrations ORDER BY number")
    known = {each.number: each for each in wanted}
    newest = max(known, default=0)
    for number, name, sha256 in rows:
        if number > newest:
            raise SchemaTooNew(
                f"The database has migration {number} ({name}), which this release does not know:"
                " it was used by a newer release. Start that one, or restore a backup from before"
            )
        if number not in known or known[number].sha256 != sha256:
            raise SchemaChanged(
                f"Migration {number} ({name}) was applied to the database with another text than this release has."
                " Start the release that made the database, or name another database"
            )
    applied = {row[0] for row in rows}
    return [each for each in wanted if each.number not in applied]


async def _apply(step: Migration, cursor: Any) -> None:
    await cursor.execute("SET LOCAL statement_timeout = 0")
    await cursor.execute(step.sql)
    await cursor.execute(
        "INSERT INTO aigw_migrations (number, name, sha256) VALUES (%s, %s, %s)", (step.number, step.name, step.sha256)
    )
