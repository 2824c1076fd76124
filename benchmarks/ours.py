"""The fronts of our own gateway, as targets."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.gateway import Gateway
from benchmarks.load import NUMBER, Plan
from benchmarks.stub import MODEL
from benchmarks.target import HttpFront, Target, chat

CONTROLLED, PLAIN = "controlled", "plain"
METADATA = json.dumps({"team": "search", "feature": "bench"})


def settings_of(gateway_name: str) -> dict[str, str]:
    """What a caller sets, where the gateway has controls."""
    return {"cf-aig-metadata": METADATA} if gateway_name == CONTROLLED else {}


def token_for(gateway: Gateway, gateway_name: str) -> str:
    """The token that is shown to it: with bounds, where the gateway has controls."""
    return gateway.bounded_token if gateway_name == CONTROLLED else gateway.token


def over_socket(gateway: Gateway, name: str = CONTROLLED, label: str = "aigw, WebSocket", number: str = "") -> Target:
    """
    The universal WebSocket.

    Args:
        gateway: Runs.
        name: Of the gateway in the settings file.
        label: In the table.
        number: Stands in the prompt; empty: each request's own, so that no cache knows it.
    """
    upgrade = {"cf-aig-authorization": f"Bearer {token_for(gateway, name)}"}

    def plan(stream: bool) -> Plan:
        message = {"type": "universal.create", "request": _step(name, stream, number)}
        address = (gateway.host, gateway.port, f"/v1/local/{name}")
        return Plan("websocket", *address, upgrade, json.dumps(message), stream)

    return Target(label, gateway.pid, plan(False), plan(True))


def over_http(gateway: Gateway, name: str = CONTROLLED) -> Iterator[Target]:
    """The universal address, with one step, and the provider's own."""
    headers = {"cf-aig-authorization": f"Bearer {token_for(gateway, name)}", **settings_of(name)}
    address = (gateway.host, gateway.port)

    def plan(stream: bool) -> Plan:
        step = _step(name, stream)
        del step["eventId"]
        return Plan("http", *address, f"/v1/local/{name}", headers, json.dumps([step]), stream)

    yield Target("aigw, HTTP universal", gateway.pid, plan(False), plan(True))
    native = HttpFront(*address, f"/v1/local/{name}/openai/chat/completions", headers)
    yield native.target("aigw, HTTP native", gateway.pid)


def _step(name: str, stream: bool, number: str = "") -> dict[str, object]:
    query = json.dumps(chat(MODEL, stream))
    return {
        "eventId": NUMBER,
        "provider": "openai",
        "endpoint": "chat/completions",
        "headers": {
            "Authorization": "Bearer sk-fake",
            "Content-Type": "application/json",
            **settings_of(name),
        },
        "query": json.loads(query.replace(NUMBER, number) if number else query),
    }
