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
