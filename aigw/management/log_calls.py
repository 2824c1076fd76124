"""Logs over the internal API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aigw.errors import StatementTooSlow
from aigw.logs.filters import LogFilters
from aigw.management.call import Call, Refused
from aigw.values.ids import parse_id
from aigw.values.moment import parse_utc

# One answer's worth; who wants more asks again with `before`.
MOST_LOGS = 1_000
MOST_STATUS = 999

_TOO_SLOW = Refused(
    *(503, "too-slow"),
    "Too many logs had to be looked through; narrow the search, for instance by `since` and `gateway`",
)
_TEXTS = ("account", "gateway", "provider", "model", "token", "team", "user", "event_id")
_METADATA = "metadata."
_KNOWN = {*_TEXTS, "limit", "before", "status", "cached", "since"}


class LogCalls:
    """
    Reads logs.

    Args:
        list_logs: Given how many, perhaps an id, and filters: that many logs, newest first, those before the id.
        show_log: Given an id, the log with its bodies, or None.
    """

    def __init__(
        self,
        list_logs: Callable[[int, bytes | None, LogFilters], Awaitable[Sequence[Any]]],
        show_log: Callable[[bytes], Awaitable[Any]],
    ) -> None:
        self._list_logs = list_logs
        self._show_log = show_log

    async def list(self, call: Call) -> object:
        """The newest logs that pass the filters; `before` goes on where an earlier answer ended."""
        limit = call.number("limit", 50, 1, MOST_LOGS)
        before = call.query.get("before")
        last = None if before is None else _log_id(before)
        try:
            return {"logs": await self._list_logs(limit, last, filters_of(call))}
        except StatementTooSlow:
            raise _TOO_SLOW from None

    async def show(self, call: Call) -> object:
        """One log with its bodies."""
        found = await self._show_log(_log_id(call.name))
        if found is None:
            raise Refused(404, "no-such-log", f"There is no log `{call.name}`")
        return found


def filters_of(call: Call) -> LogFilters:
    """
    What a call's query asks for: `account`, `gateway`, `provider`, `model`, `token`, `team`, `user`, `event_id`,
    `status`, `cached` (`true` or `false`), `since` (ISO 8601) and `metadata.<key>`.

    Raises:
        Refused: A filter is unknown, or its value makes no sense. A misspelled one is not left out in silence.
    """
    query = call.query
    metadata = {key.removeprefix(_METADATA): value for key, value in query.items() if key.startswith(_METADATA)}
    for key in query:
        if key not in _KNOWN and not key.startswith(_METADATA):
            known = ", ".join(sorted(_KNOWN))
            raise Refused(400, "malformed", f"There is no filter `{key}`; there are: {known}, {_METADATA}<key>")
    cached = query.get("cached")
    if cached not in (None, "true", "false"):
        raise Refused(400, "malformed", "`cached` is `true` or `false`")
    since = query.get("since")
    since_ms = None if since is None else parse_utc(since)
    if since is not None and since_ms is None:
        raise Refused(400, "malformed", "`since` is a moment such as 2026-11-23T15:05:00Z")
    return LogFilters(
        **{name: query[name] for name in _TEXTS if name in query},
        status=call.number("status", 0, 0, MOST_STATUS) if "status" in query else None,
        cached=None if cached is None else cached == "true",
        since_ms=since_ms,
        metadata=metadata,
    )


def _log_id(text: str) -> bytes:
    log_id = parse_id(text)
    if log_id is None:
        raise Refused(404, "no-such-log", f"`{text}` is no log id; see `aigw logs list`")
    return log_id
