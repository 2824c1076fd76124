"""Reading logs back. Lists walk the primary key from its newest end and never touch bodies."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aigw.interfaces import IDatabase
from aigw.logs.compression import decompressed
from aigw.logs.filters import LogFilters, conditions_of
from aigw.logs.names import storable
from aigw.logs.sql import LOG_COLUMNS
from aigw.logs.views import Body, LogDetail, LogView
from aigw.values.ids import id_ms, id_text, parse_id
from aigw.values.usage import NANOUSD_PER_USD

LIST_MOST = 1_000
HEAD_BYTES = 1024
BODY_BYTES_SHOWN = 16 * 1024 * 1024
ALL = LogFilters()
AFTER_ALL = "ffffffff-ffff-ffff-ffff-ffffffffffff"

FIND_GATEWAYS = """
    SELECT id, account, name FROM gateways
     WHERE account = coalesce(%s, account) AND name = coalesce(%s, name)
"""
COLUMNS = ", ".join(f"logs.{name}" for name in LOG_COLUMNS)
# Each gateway's newest logs are a walk along the primary key; those few are then merged.
LIST_LOGS = f"""
    SELECT newest.* FROM unnest(%s::integer[]) AS wanted (gateway)
      CROSS JOIN LATERAL (
           SELECT {COLUMNS} FROM logs WHERE logs.gateway = wanted.gateway AND logs.id < %s {{conditions}}
            ORDER BY logs.id DESC LIMIT %s) AS newest
     ORDER BY newest.id DESC LIMIT %s
"""  # noqa: S608 - the columns are constants
FIND_LOG = f"SELECT {COLUMNS} FROM logs WHERE gateway = ANY(%s::integer[]) AND id = %s"  # noqa: S608 - as above
FIND_BODIES = """
    SELECT request_cut, response_cut, error, attempts, session, controls, request, response
      FROM log_bodies WHERE gateway = %s AND id = %s
"""
FIND_TEXTS = "SELECT id, name FROM names WHERE id = ANY(%s::integer[])"
NAME_COLUMNS = (
    *("provider", "model", "response_model", "model_type", "path", "token", "team", "person", "agent"),
    *("request_type", "request_content_type", "response_content_type"),
)
# Columns whose name and value are shown as they are.
SAME_COLUMNS = (
    *("id", "first_byte_ms", "success", "complete", "cached", "error_code", "step", "attempts", "tokens_in"),
    *("tokens_out", "cache_read", "cache_write", "usage_estimated", "custom_cost", "metadata", "event_id"),
)

Row = dict[str, Any]


async def list_logs(
    database: IDatabase, filters: LogFilters = ALL, limit: int = 50, before: bytes | None = None
) -> list[LogView]:
    """
    The newest logs.

    Args:
        database: Where they are.
        filters: Which ones.
        limit: How many at most; never more than `LIST_MOST`.
        before: A log's id, 16 bytes: only older ones are given.
    Raises:
        StatementTooSlow: What was asked for is so rare that too many logs had to be looked at.
        StorageUnavailable: The database is away.
    """
    gateways = await _gateways(database, filters.account, filters.gateway)
    conditions = await conditions_of(database, filters)
    if conditions is None or not gateways:
        return []
    limit = max(0, min(limit, LIST_MOST))
    last = AFTER_ALL if before is None else id_text(before)
    statement = LIST_LOGS.format(conditions=" ".join(conditions.sql))
    found = await database.query(statement, (list(gateways), last, *conditions.values, limit, limit))
    rows = [dict(zip(LOG_COLUMNS, row, strict=True)) for row in found]
    texts = await _texts(database, rows)
    return [LogView(**_shown(row, gateways, texts)) for row in rows]


async def show_log(
    database: IDatabase, log_id: bytes, account: str | None = None, gateway: str | None = None
) -> LogDetail | None:
    """
    One log with its bodies.

    Args:
        database: Where it is.
        log_id: 16 bytes.
        account, gateway: Names; where given, a log of another gateway is not found.
    Returns:
        None when there is no such log.
    Raises:
        StorageUnavailable: The database is away.
    """
    gateways = await _gateways(database, account, gateway)
    found = await database.query(FIND_LOG, (list(gateways), id_text(log_id)))
    if not found:
        return None
    row = dict(zip(LOG_COLUMNS, found[0], strict=True))
    texts = await _texts(database, [row])
    stored = await database.query(FIND_BODIES, (row["gateway"], row["id"]))
    nothing = (False,) * 2 + (None,) * 6
    request_cut, response_cut, error, attempts, session, controls, request, response = stored[0] if stored else nothing
    request_body, request_head = _body(request, request_cut)
    response_body, response_head = _body(response, response_cut)
    return LogDetail(
        **_shown(row, gateways, texts),
        error=error,
        attempt_list=attempts or [],
        session=session,
        controls=controls,
        request=request_body,
        response=response_body,
        request_head=request_head[0],
        response_head=response_head[0],
        request_head_complete=request_head[1],
        response_head_complete=response_head[1],
    )


async def _gateways(database: IDatabase, account: str | None, name: str | None) -> dict[int, tuple[str, str]]:
    wanted = [None if each is None else storable(each) for each in (account, name)]
    rows = await database.query(FIND_GATEWAYS, wanted)
    return {number: (owner, gateway) for number, owner, gateway in rows}


async def _texts(database: IDatabase, rows: Iterable[Row]) -> dict[int, str]:
    """The texts of all names in these rows, in one query."""
    numbers = {row[column] for row in rows for column in NAME_COLUMNS} - {None}
    return dict(await database.query(FIND_TEXTS, (sorted(numbers),))) if numbers else {}


def _shown(row: Row, gateways: dict[int, tuple[str, str]], texts: dict[int, str]) -> dict[str, Any]:
    """The fields of a `LogView`."""
    named = {column: texts.get(row[column]) for column in NAME_COLUMNS}
    account, gateway = gateways[row["gateway"]]
    cost = row["cost_nanousd"]
    return {
        **{name: row[name] for name in SAME_COLUMNS},
        **{name: text for name, text in named.items() if name not in ("agent", "person")},
        "created_at": _created_at(row["id"]),
        "account": account,
        "gateway": gateway,
        "duration": row["duration_ms"],
        "status_code": row["status"],
        "cost": None if cost is None else cost / NANOUSD_PER_USD,
        "request_size": row["request_bytes"],
        "response_size": row["response_bytes"],
        "user": named["person"],
        "user_agent": named["agent"],
        "authentication": row["authenticated"],
    }


def _created_at(text: str) -> str:
    moment = datetime.fromtimestamp(id_ms(parse_id(text) or bytes(16)) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _body(frame: Any, cut: bool) -> tuple[Body | None, tuple[str | None, bool | None]]:
    """A stored body, and its head with whether that is all."""
    if frame is None:
        return None, (None, None)
    data, whole = decompressed(bytes(frame), BODY_BYTES_SHOWN)
    complete = whole and not cut
    try:
        body = Body(data.decode(), "utf-8", complete)
    except UnicodeDecodeError:
        body = Body(base64.b64encode(data).decode(), "base64", complete)
    return body, (data[:HEAD_BYTES].decode("utf-8", "replace"), complete and len(data) <= HEAD_BYTES)
