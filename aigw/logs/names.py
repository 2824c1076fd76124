"""Names that repeat from log to log, by the integers that the rows hold."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from aigw.interfaces import IDatabase
from aigw.values.record import TEXT_CHARS

CACHED_NAMES = 20_000

Name = tuple[int, str]
GatewayName = tuple[str, str]


class NameKind(enum.IntEnum):
    """What a name names; the table's numbers."""

    PROVIDER = 1
    MODEL = 2
    PATH = 3
    AGENT = 4
    TOKEN = 5
    REQUEST_TYPE = 6
    CONTENT_TYPE = 7
    MODEL_TYPE = 8
    TEAM = 9
    PERSON = 10


FIND_NAMES = """
    SELECT names.kind, names.name, names.id
      FROM names JOIN unnest(%s::smallint[], %s::text[]) AS wanted (kind, name) USING (kind, name)
"""
# Sorted by the caller: two processes that insert the same names in different orders would wait for each other.
ADD_NAMES = """
    INSERT INTO names (kind, name) SELECT * FROM unnest(%s::smallint[], %s::text[]) ON CONFLICT DO NOTHING
"""
FIND_GATEWAYS = """
    SELECT gateways.account, gateways.name, gateways.id
      FROM gateways JOIN unnest(%s::text[], %s::text[]) AS wanted (account, name) USING (account, name)
"""
ADD_GATEWAYS = """
    INSERT INTO gateways (account, name) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""


def storable(text: str) -> str:
    """A text as PostgreSQL takes it, cut to the width of a narrow row."""
    if len(text) <= TEXT_CHARS and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd")[:TEXT_CHARS]


class Names:
    """
    Looks up and adds names. What was found once is remembered, within bounds; ids never change.

    Args:
        database: Where the tables are.
    """

    def __init__(self, database: IDatabase) -> None:
        self._database = database
        self._ids: dict[tuple[Any, str], int] = {}

    async def ids(
        self, names: Iterable[Name], gateways: Iterable[GatewayName]
    ) -> tuple[dict[Name, int], dict[GatewayName, int]]:
        """
        Have an id for each name.

        Args:
            names: Kind and text, as it stood in the record, not empty.
            gateways: Account and gateway, likewise.
        Returns:
            Ids by these very names: two that are stored as one have the same id.
        Raises:
            StorageUnavailable: The database is away.
            psycopg2.Error: It refused a name.
        """
        if len(self._ids) > CACHED_NAMES:
            # All at once: what is in use comes back with the next batches, and nothing has to be kept in order.
            self._ids.clear()
        stored_names = {name: (name[0], storable(name[1])) for name in names}
        stored_gateways = {name: (storable(name[0]), storable(name[1])) for name in gateways}
        found_names = await self._resolve(set(stored_names.values()), FIND_NAMES, ADD_NAMES)
        found_gateways = await self._resolve(set(stored_gateways.values()), FIND_GATEWAYS, ADD_GATEWAYS)
        return (
            {name: found_names[stored] for name, stored in stored_names.items()},
            {name: found_gateways[stored] for name, stored in stored_gateways.items()},
        )

    async def _resolve(self, wanted: set[Any], find: str, add: str) -> dict[Any, int]:
        known = {name: self._ids[name] for name in wanted if name in self._ids}
        missing = sorted(wanted - known.keys())
        for statement in (None, add):
            if not missing:
                break
            columns = [list(column) for column in zip(*missing, strict=True)]
            if statement is not None:
                await self._database.query(statement, columns)
            for first, second, number in await self._database.query(find, columns):
                known[first, second] = self._ids[first, second] = number
            missing = [name for name in missing if name not in known]
        return known
