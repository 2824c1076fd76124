"""`aigw logs`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, cell, print_json, print_rows, print_table, readable
from aigw.management.control_client import ControlClient

_COLUMNS = ("created_at", "id", "provider", "model", "status_code", "duration", "tokens_in", "tokens_out", "cost")

# The most that one call gives.
_PAGE = 1_000


def list_newest(options: argparse.Namespace) -> int:
    """`aigw logs list`."""
    return print_rows(options, _COLUMNS, _newest(control(options), options.limit))


def _newest(client: ControlClient, limit: int) -> Iterator[dict[str, Any]]:
    """So many logs, newest first, page by page."""
    before = ""
    while limit > 0:
        logs = client.call("GET", f"/v1/logs?limit={min(limit, _PAGE)}{before}")["logs"]
        yield from logs
        if len(logs) < min(limit, _PAGE):
            return
        limit -= len(logs)
        before = f"&before={logs[-1]['id']}"


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
