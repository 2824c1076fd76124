"""`aigw logs`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, cell, print_json, print_rows, print_table
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
    bodies = {name: log.pop(name) for name in ("request_body", "response_body") if name in log}
    print_table([(name, cell(value)) for name, value in log.items()])
    for name, body in bodies.items():
        print(f"\n{name}:\n{_body_text(body)}")
    return OK


def _body_text(body: object) -> str:
    if body is None:
        return "(not kept)"
    return body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
