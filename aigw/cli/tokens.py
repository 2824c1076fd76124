"""`aigw token`."""

from __future__ import annotations

import argparse
import sys

from aigw.cli.bounds import bounds_of
from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, print_json, print_rows

_COLUMNS = ("id", "name", "scopes", "account", "gateway", "team", "user", "state", "created_at", "expires_at")


def create(options: argparse.Namespace) -> int:
    """`aigw token create`."""
    form = {
        "name": options.name,
        "scopes": options.scope or ["run"],
        "account": options.account,
        "gateway": options.gateway,
        "expires_in_s": options.expires_in,
        "team": options.team,
        "user": options.user,
        "bounds": bounds_of(options),
    }
    made = control(options).call("POST", "/v1/tokens", form)
    if as_json(options):
        print_json(made)
    else:
        print(made["token"])
        ends = f", until {made['expires_at']}" if made["expires_at"] else ""
        about = f"{made['id']} may {', '.join(made['scopes'])}{ends}. The text above is not shown again."
        # Apart from the token, so that `TOKEN=$(aigw token create)` gets the token alone.
        print(about, file=sys.stderr)
    return OK


def list_all(options: argparse.Namespace) -> int:
    """`aigw token list`."""
    return print_rows(options, _COLUMNS, control(options).call("GET", "/v1/tokens")["tokens"])


def revoke(options: argparse.Namespace) -> int:
    """`aigw token revoke`."""
    ended = control(options).call("DELETE", f"/v1/tokens/{quoted(options.id)}")
    if as_json(options):
        print_json(ended)
    else:
        print(f"{ended['id']} is revoked.")
    return OK
