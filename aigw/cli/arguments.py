"""The command line of `aigw`."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from typing import Any

from aigw import __version__
from aigw.cli import checks, logs, policies, spools, tokens
from aigw.cli.bounds import add_bounds
from aigw.cli.completion import completion
from aigw.cli.durations import duration_s
from aigw.cli.finding import DEFAULT_DATA_DIR
from aigw.cli.gateways import add_gateway_verbs
from aigw.cli.teams import add_team_verbs
from aigw.values.moment import parse_utc, utc_text

Verb = Callable[[argparse.Namespace], int]


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; shell completion is made from it too."""
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument("--data-dir", metavar="DIR", help=f"the gateway's folder (default ./{DEFAULT_DATA_DIR})")
    everywhere.add_argument("--config", metavar="FILE", help="the gateway's settings file, which names its folder")
    everywhere.add_argument("--json", action="store_true", help="print JSON: one object, or one object a line")

    parser = argparse.ArgumentParser(
        prog="aigw",
        description="Talks to a running AI gateway. Start one with: twistd --nodaemon aigateway",
        epilog="exit codes: 0 well, 1 refused or a check failed, 2 wrong usage, 3 no gateway is running, 130 Ctrl-C",
        parents=[everywhere],
    )
    parser.add_argument("--version", action="version", version=f"aigw {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(group: Any, name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = group.add_parser(name, help=text, description=text, parents=[everywhere])
        added.set_defaults(verb=verb)
        return added

    add(verbs, "check-config", checks.check_config, "hold the settings against what can be set, and list every mistake")
    add(verbs, "doctor", checks.doctor, "check ports, database, spool, clock and master key")
    _add_token_verbs(add, verbs.add_parser("token", help="make, list and revoke tokens").add_subparsers(required=True))
    add_team_verbs(add, verbs.add_parser("team", help="who is held to what together").add_subparsers(required=True))
    add_gateway_verbs(
        add, verbs.add_parser("gateway", help="make, list and set gateways").add_subparsers(required=True)
    )
    _add_log_verbs(add, verbs.add_parser("logs", help="read logs").add_subparsers(required=True))
    spool = verbs.add_parser("spool", help="take in logs from another machine's disk").add_subparsers(required=True)
    text = "ship the logs of a spool from a disk that belonged to another gateway"
    add(spool, "adopt", spools.adopt, text).add_argument(
        "folder", metavar="DIR", help="its `spool` folder, or one in it"
    )
    policy = verbs.add_parser("policy", help="who may ask for what, and for how much money").add_subparsers(
        required=True
    )
    _add_policy_verbs(add, policy)
    _add_chat(add(verbs, "chat", _chat, "talk to a model through the gateway's WebSocket"))
    completion_verb = add(verbs, "completion", completion(build_parser), "print a completion script for a shell")
    completion_verb.add_argument("shell", choices=("bash", "zsh"))
    return parser


def _add_token_verbs(add: Callable[..., argparse.ArgumentParser], group: Any) -> None:
    create = add(group, "create", tokens.create, "make a token; its text is shown this once")
    create.add_argument("--name", default="", help="what you call it")
    create.add_argument("--scope", action="append", choices=("run", "read", "edit"), help="repeatable (default run)")
    create.add_argument("--account", default="local", help="the account it may act for (default local)")
    create.add_argument("--gateway", help="the only gateway it may act for (default: every one of the account)")
    create.add_argument("--expires-in", type=duration_s, metavar="TIME", help="such as 90m, 12h, 30d (default: never)")
    create.add_argument("--team", metavar="NAME", help="the team that it belongs to")
    create.add_argument("--user", metavar="NAME", help="the person who holds it")
    add_bounds(create)
    add(group, "list", tokens.list_all, "list all tokens, without their texts")
    add(group, "revoke", tokens.revoke, "end a token at once, also a minted one, on open sockets too").add_argument(
        "id", metavar="ID"
    )


def _add_log_verbs(add: Callable[..., argparse.ArgumentParser], group: Any) -> None:
    newest = add(group, "list", logs.list_newest, "list the newest logs")
    newest.add_argument("--limit", type=_count, default=20, metavar="N", help="how many (default 20)")
    _add_log_filters(newest)
    add(group, "show", logs.show, "show one log with its bodies").add_argument("id", metavar="ID")


def _add_log_filters(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--since", type=_moment, metavar="TIME", help="such as 90m, 12h, 7d ago, or 2026-11-23T15:05:00Z")
    verb.add_argument("--account", metavar="NAME", help="only logs of this account")
    verb.add_argument("--gateway", metavar="NAME", help="... of this gateway")
    verb.add_argument("--token", metavar="ID", help="... of calls with this token, by its public id")
    verb.add_argument("--team", metavar="NAME", help="... of callers of this team")
    verb.add_argument("--user", metavar="NAME", help="... of this user, as the token or the identity provider says")
    verb.add_argument("--provider", metavar="SLUG", help="... that this provider answered, or failed last")
    verb.add_argument("--model", metavar="NAME", help="... for this model, as the request named it")
    verb.add_argument("--status", type=_status, metavar="N", help="... with this HTTP status")
    verb.add_argument("--event-id", metavar="ID", help="... with this event id")
    verb.add_argument(
        *("--metadata",), action="append", default=[], type=_pair, metavar="KEY=VALUE", help="... with this; repeatable"
    )
    cached = verb.add_mutually_exclusive_group()
    cached.add_argument("--cached", action="store_true", default=None, help="... answered out of the gateway's cache")
    cached.add_argument("--not-cached", action="store_false", dest="cached", default=None, help="... that were not")


def _add_policy_verbs(add: Callable[..., argparse.ArgumentParser], group: Any) -> None:
    def of_gateway(name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        added = add(group, name, verb, text)
        added.add_argument("--account", default="local", help="the gateway's account (default local)")
        added.add_argument("--gateway", default="default", help="whose policies are meant (default default)")
        return added

    listed = of_gateway("list", policies.list_all, "list the policies in force")
    listed.add_argument("--drafts", action="store_true", help="drafts, too")
    shown = of_gateway("show", policies.show, "show one policy")
    shown.add_argument("id", metavar="ID")
    shown.add_argument("--drafts", action="store_true", help="its draft, where it has one")
    created = of_gateway("create", policies.create, "draft a policy")
    updated = of_gateway("update", policies.update, "draft another version of a policy in force; name what changes")
    updated.add_argument("id", metavar="ID")
    for verb in (created, updated):
        verb.add_argument("--name", help="what you call it")
        verb.add_argument("--actor", metavar="BUCKET", help="what is charged, such as user:{cf.user.id}")
        verb.add_argument(
            "--resource", type=policies.resource, metavar="JSON", help="* or {model, provider} (default *)"
        )
        verb.add_argument("--condition", metavar="CEL", help="when it holds (default true)")
        verb.add_argument(
            "--action", type=policies.action, metavar="ACTION", help="no-limit, block, block-except, or such as 5/daily"
        )
        verb.add_argument("--file", help="all of it as JSON; - for standard input; options go before it")
        verb.add_argument("--commit", action="store_true", help="put it in force at once")
    of_gateway("delete", policies.delete, "end a policy at once, and its draft").add_argument("id", metavar="ID")
    of_gateway("commit", policies.commit, "put all drafts in force")
    _add_simulation(of_gateway("simulate", policies.simulate, "say what the policies in force would do to a request"))


def _add_simulation(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", required=True, help="as the provider names it")
    verb.add_argument("--provider", required=True, help="slug")
    verb.add_argument(
        "--cf", type=policies.json_object, default={}, metavar="JSON", help='such as {"user": {"id": "u1"}}'
    )
    verb.add_argument("--metadata", type=policies.json_object, default={}, metavar="JSON", help="as in cf-aig-metadata")
    verb.add_argument(
        "--spent", type=policies.usage, action="append", default=[], metavar="NAME=USD", help="by a policy's bucket"
    )


def _add_chat(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("message", nargs="?", default="", help="the only turn; without it, one turn a line of input")
    verb.add_argument("--provider", default="sandbox", help="slug (default sandbox, which needs no key)")
    verb.add_argument("--model", default="echo", help="as the provider names it (default echo)")
    verb.add_argument("--endpoint", default="", help="path below the provider (default: where its chats live)")
    verb.add_argument(
        "--header", action="append", default=[], type=_header, metavar="NAME:VALUE", help="for the provider"
    )
    verb.add_argument("--url", help="ws:// address of a gateway (default: the running one; or AIGW_URL)")
    verb.add_argument("--token", help="for the gateway (default: one made for this chat; or AIGW_TOKEN)")


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of logs")
    return int(text)


def _status(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no HTTP status")
    return int(text)


def _moment(text: str) -> str:
    """A moment, or how long ago it was, as ISO 8601 in UTC."""
    if parse_utc(text) is not None:
        return text
    try:
        ago_s = duration_s(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90m, 12h, 7d or 2026-11-23T15:05:00Z") from None
    return utc_text(max(0, int(time.time() - ago_s) * 1000))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    return key, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("a header is NAME:VALUE")
    return name.strip().lower(), value.strip()


def _chat(options: argparse.Namespace) -> int:
    # Twisted and Autobahn take longer to import than any other verb takes to finish.
    from aigw.cli.chat import chat

    return chat(options)
