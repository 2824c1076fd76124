"""`aigw chat`."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.cli.finding import control
from aigw.cli.output import INTERRUPTED, OK, REFUSED, as_json, complain, readable
from aigw.client.chat import Partner
from aigw.client.failures import ClientFailure
from aigw.client.terminal import ChatOptions
from aigw.client.terminal import chat as hold
from aigw.management.control_client import CallRefused, NotRunning

# Long enough for a conversation, short enough that a token left behind by a crash is soon worth nothing.
_TOKEN_S = 12 * 3_600


def chat(options: argparse.Namespace) -> int:
    """`aigw chat`."""
    gateway = control(options)
    url = options.url or os.environ.get("AIGW_URL")
    if not url:
        url = _data_port(gateway.call("GET", "/v1/about")["addresses"]) + "/v1/local/default"
    token = options.token or os.environ.get("AIGW_TOKEN")
    borrowed = ""
    if not token:
        made = gateway.call("POST", "/v1/tokens", {"name": "aigw chat", "expires_in_s": _TOKEN_S})
        token, borrowed = made["token"], made["id"]
    partner = Partner(options.provider, options.model, options.endpoint, dict(options.header))
    try:
        return _run(options, ChatOptions(url, token, partner, options.message, as_json(options), readable))
    finally:
        if borrowed:
            # Where the gateway has stopped meanwhile, the token is left to expire.
            with contextlib.suppress(NotRunning):
                gateway.call("DELETE", f"/v1/tokens/{borrowed}")


def _data_port(addresses: Iterable[str]) -> str:
    """The address of the data port, as this machine reaches it."""
    found = next((address for address in addresses if address.startswith(("ws://", "wss://"))), None)
    if found is None:
        raise CallRefused("no-port", "The gateway has no address that a WebSocket can reach; name one with --url")
    return re.sub(r"//(0\.0\.0\.0|\[::\])", "//127.0.0.1", found)


def _run(options: argparse.Namespace, asked: ChatOptions) -> int:
    """Run the reactor until the conversation is over, or Ctrl-C ends both."""
    from twisted.internet import reactor

    loop: Any = reactor
    outcome: list[Failure | None] = []

    def begin() -> None:
        talking = Deferred.fromCoroutine(hold(loop, asked, sys.stdout, sys.stderr))
        talking.addBoth(outcome.append).addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run()
    if not outcome:
        return INTERRUPTED
    failure = outcome[0]
    if failure is None:
        return OK
    if failure.check(ClientFailure):
        return complain(options, "answer", str(failure.value), REFUSED)
    return complain(options, "connection", f"{asked.url}: {failure.getErrorMessage()}", REFUSED)
