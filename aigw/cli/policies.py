"""`aigw policy`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aigw.cli.finding import control, quoted
from aigw.cli.output import OK, REFUSED, as_json, complain, print_json, print_rows

_COLUMNS = ("id", "name", "actor", "resource", "condition", "action", "staging")


def list_all(options: argparse.Namespace) -> int:
    """`aigw policy list`."""
    path = _path(options, "", includeStaging=options.drafts)
    return print_rows(options, _COLUMNS, control(options).call("GET", path)["result"])


def show(options: argparse.Namespace) -> int:
    """`aigw policy show`."""
    path = _path(options, f"/{quoted(options.id)}", includeStaging=options.drafts)
    return _print(control(options).call("GET", path)["result"], options)


def create(options: argparse.Namespace) -> int:
    """`aigw policy create`."""
    return _write(options, "POST", "", {"resource": "*", "condition": "true"})


def update(options: argparse.Namespace) -> int:
    """`aigw policy update`."""
    return _write(options, "PUT", f"/{quoted(options.id)}", {})


def delete(options: argparse.Namespace) -> int:
    """`aigw policy delete`."""
    answer = control(options).call("DELETE", _path(options, f"/{quoted(options.id)}"))
    return _say(options, answer, f"{options.id} is gone, and so is its draft.")


def commit(options: argparse.Namespace) -> int:
    """`aigw policy commit`; exit code 1 when some drafts could not be put in force."""
    answer = control(options).call("POST", _path(options, "/commit"))
    result = answer["result"]
    for error in result.get("errors", ()) if not as_json(options) else ():
        print(f"aigw: {error['policyId']} stays a draft: {error['message']}", file=sys.stderr)
    _say(options, answer, f"{result['committed']} committed, {result['failed']} failed.")
    return REFUSED if result["failed"] else OK


def simulate(options: argparse.Namespace) -> int:
    """`aigw policy simulate`; exit code 1 when the request would be refused."""
    body: dict[str, Any] = {
        "identity": {"cf": options.cf},
        "metadata": options.metadata,
        "model": options.model,
        "provider": options.provider,
        "bucketUsage": {name: {"spent": spent} for name, spent in options.spent},
    }
    result = control(options).call("POST", _path(options, "/simulate"), body)["result"]
    _print(result, options)
    return OK if result["enforcement"]["allowed"] else REFUSED


def usage(text: str) -> tuple[str, float]:
    """
    `NAME=USD`, what a policy's bucket has spent.

    Raises:
        ArgumentTypeError: It is none.
    """
    name, equals, amount = text.rpartition("=")
    try:
        return name, float(amount) if equals and name else float("x")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=USD") from None


def resource(text: str) -> str | dict[str, Any]:
    """
    `*`, or what a policy is about as JSON.

    Raises:
        ArgumentTypeError: It is none.
    """
    return text if text == "*" else json_object(text)


def action(text: str) -> dict[str, Any]:
    """
    `no-limit`, `block`, `block-except` or `USD/PERIOD`.

    Raises:
        ArgumentTypeError: It is none.
    """
    if text in ("no-limit", "block"):
        return {"type": text}
    if text == "block-except":
        return {"type": "block", "except": True}
    amount, slash, period = text.partition("/")
    try:
        return {"type": "limit", "amount": float(amount if slash else "x"), "period": period}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither no-limit, block, block-except nor USD/PERIOD") from None


def json_object(text: str) -> dict[str, Any]:
    """
    A JSON object on the command line.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("no JSON object")
    return value


def _write(options: argparse.Namespace, method: str, path: str, otherwise: dict[str, Any]) -> int:
    try:
        fields = {**otherwise, **_fields(options)}
    except (OSError, ValueError) as error:
        return complain(options, "file", f"{options.file}: {error}", REFUSED)
    answer = control(options).call(method, _path(options, path, commit=options.commit), fields)
    policy_id = answer["result"]["id"] if "result" in answer else options.id
    state = "in force" if answer["committed"] else "a draft; put it in force with `aigw policy commit`"
    return _say(options, answer, f"{policy_id} is {state}.")


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    """What the file says, and over it what the options say."""
    fields: dict[str, Any] = {}
    if options.file is not None:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")
    for name in ("name", "actor", "condition", "resource", "action"):
        value = getattr(options, name)
        if value is not None:
            fields[name] = value
    return fields


def _path(options: argparse.Namespace, below: str, **flags: bool) -> str:
    query = {"account": options.account, "gateway": options.gateway}
    query.update({name: "true" for name, value in flags.items() if value})
    return f"/v1/policies{below}?{urlencode(query)}"


def _say(options: argparse.Namespace, answer: dict[str, Any], sentence: str) -> int:
    if as_json(options):
        print_json(answer)
    else:
        print(sentence)
    return OK


def _print(value: dict[str, Any], options: argparse.Namespace) -> int:
    print(json.dumps(value, ensure_ascii=False, indent=None if as_json(options) else 2))
    return OK
