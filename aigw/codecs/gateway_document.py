"""A gateway's settings as JSON or TOML, and back: one reading for the file, the command and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aigw.codecs.gateway_check import contradictions
from aigw.codecs.settings_check import problems_of
from aigw.values.gateway import Gateway

# What an answer has and no declaration may set; whoever sends back what he was shown is not refused for it.
ANSWER_ONLY = frozenset(("created_at", "modified_at", "is_default", "wholesale", "origin", "version"))


def read_gateway(document: Mapping[str, Any]) -> Gateway | list[str]:
    """
    The gateway that a document declares.

    Args:
        document: By Cloudflare's field names, as parsed; `null` stands for nothing where Cloudflare's API takes it.
    Returns:
        The gateway; or everything that is wrong, each sentence beginning with the path of its field.
    """
    fields = {name: value for name, value in document.items() if name not in ANSWER_ONLY}
    problems = problems_of(fields, Gateway)
    if problems:
        return problems
    gateway = msgspec.convert(fields, Gateway)
    return list(contradictions(gateway)) or gateway


def gateway_document(gateway: Gateway) -> dict[str, Any]:
    """Every field of a gateway, as JSON holds it."""
    fields: dict[str, Any] = msgspec.to_builtins(gateway)
    return fields


def stored_document(gateway: Gateway) -> dict[str, Any]:
    """
    What is kept of a gateway: the fields that its owner has set otherwise than they are by themselves. So a process of
    the release before can read it, unless it makes use of what is new.
    """
    defaults = gateway_document(Gateway(id=gateway.id))
    return {name: value for name, value in gateway_document(gateway).items() if value != defaults[name]}


def read_stored(account: str, name: str, document: Mapping[str, Any]) -> Gateway:
    """
    The gateway of a stored document; its name is that of the document, whatever stands in it.

    Raises:
        ValueError: It cannot be read here.
    """
    gateway = read_gateway({**document, "id": name, "account": account})
    if isinstance(gateway, list):
        raise ValueError("; ".join(gateway))
    return gateway
