"""`aigw team`."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlencode

from aigw.cli.bounds import FIELDS, add_bounds, bounds_of
from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, print_json, print_rows

_COLUMNS = ("name", "account", "members", "bounds", "modified_at")


def add_team_verbs(add: Any, group: Any) -> None:
    """Every verb with its options."""

    def named(name: str, verb: Any, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = add(group, name, verb, text)
        added.add_argument("name", metavar="NAME")
        added.add_argument("--account", default="local", help="the account that it belongs to (default local)")
        return added

    made = named("create", create, "make a team; what binds it binds its tokens and members together")
    made.add_argument("--member", action="append", metavar="USER", help="user id or e-mail address; repeatable")
    add_bounds(made)
    add(group, "list", list_all, "list all teams")
    named("show", show, "show one team")
    changed = named("set", change, "change a team; name what changes")
    changed.add_argument("--member", action="append", metavar="USER", help="all members, in place of those before")
    changed.add_argument("--add-member", action="append", metavar="USER", help="one more; repeatable")
    changed.add_argument("--remove-member", action="append", metavar="USER", help="one less; repeatable")
    add_bounds(changed)
    changed.add_argument("--clear", action="append", choices=FIELDS, default=[], help="a bound to remove; repeatable")
    ended = named("delete", delete, "delete a team")
    ended.add_argument("--force", action="store_true", help="also while it has tokens, which are refused from then on")


def create(options: argparse.Namespace) -> int:
    """`aigw team create`."""
    form = {
        "name": options.name,
        "account": options.account,
        "members": options.member or [],
        "bounds": bounds_of(options),
    }
    return _show(options, control(options).call("POST", "/v1/teams", form))


def list_all(options: argparse.Namespace) -> int:
    """`aigw team list`."""
    return print_rows(options, _COLUMNS, control(options).call("GET", "/v1/teams")["teams"])


def show(options: argparse.Namespace) -> int:
    """`aigw team show`."""
    return _show(options, control(options).call("GET", _address(options)))


def change(options: argparse.Namespace) -> int:
    """`aigw team set`."""
    gateway = control(options)
    form: dict[str, Any] = {
        "account": options.account,
        "members": options.member,
        "add_members": options.add_member or [],
        "remove_members": options.remove_member or [],
    }
    named = bounds_of(options)
    if named or options.clear:
        before = gateway.call("GET", _address(options))["bounds"]
        form["bounds"] = {**{key: value for key, value in before.items() if key not in options.clear}, **named}
    return _show(options, gateway.call("PUT", f"/v1/teams/{quoted(options.name)}", form))


def delete(options: argparse.Namespace) -> int:
    """`aigw team delete`."""
    ended = control(options).call("DELETE", _address(options, force="true" if options.force else "false"))
    if as_json(options):
        print_json(ended)
    else:
        print(f"{ended['name']} is deleted.")
    return OK


def _address(options: argparse.Namespace, **query: str) -> str:
    return f"/v1/teams/{quoted(options.name)}?{urlencode({'account': options.account, **query})}"


def _show(options: argparse.Namespace, team: dict[str, Any]) -> int:
    return print_rows(options, _COLUMNS, [team])
