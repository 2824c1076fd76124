"""Which logs a search is for, as conditions on the rows."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from aigw.interfaces import IDatabase
from aigw.logs.names import FIND_NAMES, Name, NameKind, storable
from aigw.values.ids import id_text

# What an id has room for.
LAST_MS = 2**48 - 1


class LogFilters(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that is named must hold; None leaves it open.

    Attributes:
        account, gateway, provider: Names.
        model: As the request named it.
        token: Public id.
        team, user: Of the caller.
        status: HTTP status that the client was told.
        cached: Whether the answer came out of the gateway's cache.
        since_ms: Not before this moment, in milliseconds since the epoch.
        metadata: By key, a value each: a text, or what JSON calls a number or a boolean.
        event_id: The client's own correlation id.
    """

    account: str | None = None
    gateway: str | None = None
    provider: str | None = None
    model: str | None = None
    token: str | None = None
    team: str | None = None
    user: str | None = None
    status: int | None = None
    cached: bool | None = None
    since_ms: int | None = None
    metadata: dict[str, str] = {}
    event_id: str | None = None


@attrs.define
class Conditions:
    """
    A part of a WHERE.

    Attributes:
        sql: Each begins with AND, and has a place for one or two values.
        values: For those places.
    """

    sql: list[str] = attrs.field(factory=list)
    values: list[Any] = attrs.field(factory=list)

    def add(self, sql: str, *values: Any) -> None:
        """Ask for one more thing to hold."""
        self.sql.append(f"AND {sql}")
        self.values += values


# Filters by names that rows hold as integers.
_NAMED = {
    "provider": ("logs.provider = %s", NameKind.PROVIDER),
    "model": ("logs.model = %s", NameKind.MODEL),
    "token": ("logs.token = %s", NameKind.TOKEN),
    "team": ("logs.team = %s", NameKind.TEAM),
    "user": ("logs.person = %s", NameKind.PERSON),
}


async def conditions_of(database: IDatabase, filters: LogFilters) -> Conditions | None:
    """
    What rows must fulfil, beside belonging to the account and the gateway.

    Returns:
        None when no log can: a name was never logged.
    Raises:
        StorageUnavailable: The database is away.
    """
    conditions = Conditions()
    wanted: dict[str, Name] = {}
    for field, (_, kind) in _NAMED.items():
        text = getattr(filters, field)
        if text is not None:
            wanted[field] = (kind, storable(text))
    if wanted:
        columns = [list(column) for column in zip(*wanted.values(), strict=True)]
        ids = {(kind, text): number for kind, text, number in await database.query(FIND_NAMES, columns)}
        for field, name in wanted.items():
            if name not in ids:
                return None
            conditions.add(_NAMED[field][0], ids[name])
    if filters.status is not None:
        conditions.add("logs.status = %s", filters.status)
    if filters.cached is not None:
        conditions.add("logs.cached = %s", filters.cached)
    if filters.event_id is not None:
        conditions.add("logs.event_id = %s", storable(filters.event_id))
    if filters.since_ms is not None:
        conditions.add("logs.id >= %s", id_text(max(0, min(filters.since_ms, LAST_MS)).to_bytes(6, "big") + bytes(10)))
    for key, value in filters.metadata.items():
        conditions.add("logs.metadata ->> %s = %s", *(text.replace("\0", "\ufffd") for text in (key, value)))
    return conditions
