"""`aigw gateway`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, as_json, cell, print_json, print_rows, print_table
from aigw.errors import ConfigurationError

_COLUMNS = ("id", "account", "origin", "authentication", "cache_ttl", "rate_limiting_limit", "locked", "modified_at")


def add_gateway_verbs(add: Any, group: Any) -> None:
    """Every verb with its options."""

    def named(name: str, verb: Any, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = add(group, name, verb, text)
        added.add_argument("name", metavar="NAME")
        added.add_argument("--account", default="local", help="the account that it belongs to (default local)")
        return added

    made = named("create", create, "make a gateway, kept in the database")
    add(group, "list", list_all, "list all gateways, those of the settings file too")
    named("show", show, "show all settings of a gateway")
    changed = named("set", change, "change a gateway at once, on every process and open socket")
    for verb in (made, changed):
        verb.add_argument(
            "fields", nargs="*", metavar="KEY=VALUE", help="such as cache_ttl=300; lists by commas, tables as JSON"
        )
    made.add_argument("--file", help="settings as a JSON object; - for standard input")
    changed.add_argument("--file", help="all settings as a JSON object, in place of those before; - for standard input")
    named("delete", delete, "delete a gateway; its logs stay")


def create(options: argparse.Namespace) -> int:
    """`aigw gateway create`."""
    fields = {**_file(options), **_pairs(options.fields), "id": options.name, "account": options.account}
    return _show(options, control(options).call("POST", "/v1/gateways", fields))


def list_all(options: argparse.Namespace) -> int:
    """`aigw gateway list`."""
    return print_rows(options, _COLUMNS, control(options).call("GET", "/v1/gateways")["gateways"])


def show(options: argparse.Namespace) -> int:
    """`aigw gateway show`."""
    return _show(options, control(options).call("GET", _address(options)))


def change(options: argparse.Namespace) -> int:
    """`aigw gateway set`."""
    method = "PUT" if options.file else "PATCH"
    return _show(
        options, control(options).call(method, _address(options), {**_file(options), **_pairs(options.fields)})
    )


def delete(options: argparse.Namespace) -> int:
    """`aigw gateway delete`."""
    ended = control(options).call("DELETE", _address(options))
    if as_json(options):
        print_json(ended)
    else:
        print(f"{ended['id']} is deleted.")
    return OK


def _address(options: argparse.Namespace) -> str:
    return f"/v1/gateways/{quoted(options.name)}?{urlencode({'account': options.account})}"


def _show(options: argparse.Namespace, gateway: dict[str, Any]) -> int:
    if as_json(options):
        print_json(gateway)
    else:
        print_table([(name, cell(value)) for name, value in gateway.items()])
    return OK


def _file(options: argparse.Namespace) -> dict[str, Any]:
    """
    What stands in the file that an option names.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if not options.file:
        return {}
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
        fields = json.loads(text)
    except OSError as error:
        raise ConfigurationError([f"{options.file}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigurationError([f"{options.file}: no JSON: {error}"]) from error
    if not isinstance(fields, dict):
        raise ConfigurationError([f"{options.file}: no JSON object"])
    return fields


def _pairs(pairs: list[str]) -> dict[str, Any]:
    """
    Fields as they are typed.

    Raises:
        ConfigurationError: One has no value.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ConfigurationError([f"{pair}: expected KEY=VALUE" for pair in wrong])
    return {name.strip(): _value(name.strip(), text) for name, _, text in (pair.partition("=") for pair in pairs)}


def _value(name: str, text: str) -> Any:
    """A value by its field's type. What is none is sent as it is typed: the gateway tells what is wrong with it."""
    import msgspec

    from aigw.codecs.settings_check import read_text
    from aigw.values.gateway import Gateway

    if text in ("", "null"):
        return None
    field = next((field for field in msgspec.structs.fields(Gateway) if field.name == name), None)
    try:
        if field is None or text[0] in "[{":
            return json.loads(text)
        return read_text(text, field.type, ",")
    except ValueError:
        return text
