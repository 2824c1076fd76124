"""`aigw logs`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, cell, print_json, print_rows, print_table, readable
from aigw.management.control_client import ControlClient

_COLUMNS = ("created_at", "id", "provider", "model", "status_code", "duration", "tokens_in", "tokens_out", "cost")

# Filters that take a text as it is, by their names in the call's query.
TEXT_FILTERS = ("account", "gateway", "provider", "model", "token", "team", "user", "event_id")

# The most that one call gives.
_PAGE = 1_000


def list_newest(options: argparse.Namespace) -> int:
    """`aigw logs list`."""
    return print_rows(options, _COLUMNS, _newest(control(options), options.limit, _filters(options)))


def _filters(options: argparse.Namespace) -> dict[str, str]:
    """The filters that were asked for, as the call's query names them."""
    filters = {name: getattr(options, name) for name in TEXT_FILTERS}
    filters["status"] = options.status
    filters["since"] = options.since
    filters["cached"] = None if options.cached is None else str(options.cached).lower()
    filters.update((f"metadata.{key}", value) for key, value in options.metadata)
    return {name: str(value) for name, value in filters.items() if value is not None}


def _newest(client: ControlClient, limit: int, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
    """So many logs, newest first, page by page."""
    before: dict[str, str] = {}
    while limit > 0:
        query = urlencode({"limit": min(limit, _PAGE), **before, **filters})
        logs = client.call("GET", f"/v1/logs?{query}")["logs"]
        yield from logs
        if len(logs) < min(limit, _PAGE):
            return
        limit -= len(logs)
        before = {"before": logs[-1]["id"]}


def show(options: argparse.Namespace) -> int:
    """`aigw logs show`."""
    log = control(options).call("GET", f"/v1/logs/{quoted(options.id)}")
    if as_json(options):
        print_json(log)
        return OK
    bodies = {name: log.pop(name, None) for name in ("request", "response")}
    # Their heads are the same once more.
    print_table([(name, cell(value)) for name, value in log.items() if "_head" not in name])
    for name, body in bodies.items():
        print(f"\n{name}: {_body_text(body)}")
    return OK


def _body_text(body: dict[str, Any] | None) -> str:
    """A stored body with a word on what it is; see `aigw.logs.views.Body`."""
    if body is None:
        return "(not kept)"
    notes = [] if body["encoding"] == "utf-8" else [body["encoding"]]
    notes += [] if body["complete"] else ["cut off"]
    about = f"({', '.join(notes)})" if notes else ""
    return f"{about}\n{readable(body['text'])}"
