"""Logs over the internal API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aigw.management.call import Call, Refused
from aigw.values.ids import parse_id

# One answer's worth; who wants more asks again with `before`.
MOST_LOGS = 1_000


class LogCalls:
    """
    Reads logs.

    Args:
        list_logs: Given how many and, perhaps, an id: that many logs, newest first, those before the id.
        show_log: Given an id, the log with its bodies, or None.
    """

    def __init__(
        self,
        list_logs: Callable[[int, bytes | None], Awaitable[Sequence[Any]]],
        show_log: Callable[[bytes], Awaitable[Any]],
    ) -> None:
        self._list_logs = list_logs
        self._show_log = show_log

    async def list(self, call: Call) -> object:
        """The newest logs; `before` goes on where an earlier answer ended."""
        limit = call.number("limit", 50, 1, MOST_LOGS)
        before = call.query.get("before")
        return {"logs": await self._list_logs(limit, None if before is None else _log_id(before))}

    async def show(self, call: Call) -> object:
        """One log with its bodies."""
        found = await self._show_log(_log_id(call.name))
        if found is None:
            raise Refused(404, "no-such-log", f"There is no log `{call.name}`")
        return found


def _log_id(text: str) -> bytes:
    log_id = parse_id(text)
    if log_id is None:
        raise Refused(404, "no-such-log", f"`{text}` is no log id; see `aigw logs list`")
    return log_id
