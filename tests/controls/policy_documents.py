"""Policies, their documents and visits, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aigw.controls.authentication import ANONYMOUS, Caller
from aigw.controls.policy_rulings import PolicyRulings, read_rulings
from aigw.controls.visit import Visit
from aigw.testing.documents import MemoryDocuments
from aigw.values.gateway import Gateway, WhenDown
from aigw.values.policy import Policy
from aigw.values.record import Target
from aigw.values.step import Ask, Clocks, UpstreamRequest

ALICE: Mapping[str, Any] = {
    "user": {"id": "alice", "email": "alice@example.com", "groups": ["engineering", "contractors"]},
    "custom": {"cost_center": 7},
}


def policy_documents() -> MemoryDocuments[PolicyRulings]:
    """What one process knows of all gateways' policies."""
    return MemoryDocuments(read_rulings)


def keep(documents: MemoryDocuments[PolicyRulings], document: Mapping[str, Any], gateway: str = "g") -> None:
    """Put policies in the place of others, whatever they are."""
    plain = msgspec.json.decode(msgspec.json.encode(document))
    Deferred.fromCoroutine(documents.put("local", gateway, plain)).addErrback(Failure.raiseException)


def policy(policy_id: str, **fields: Any) -> Policy:
    """A policy that lets everybody ask for everything, but for what the fields say."""
    form = {"name": policy_id, "actor": "company:all", "resource": "*", "condition": "true"}
    default = {"action": {"type": "no-limit"}, "created_at": 1, "updated_at": 1}
    return msgspec.convert({**form, **default, "id": policy_id, **fields}, Policy)


def visit(
    identity: Mapping[str, Any] | None = None,
    provider: str = "openai",
    model: str = "gpt-4o",
    metadata: Mapping[str, Any] | None = None,
    country: str = "",
    when_down: WhenDown = "open",
) -> Visit:
    """A step of somebody's request."""
    return Visit(
        gateway=Gateway("g", policies_when_down=when_down),
        caller=ANONYMOUS if identity is None else Caller("tok_1", True, identity=identity),
        target=Target(provider, "chat/completions", model),
        request=UpstreamRequest(b"POST", b"https://provider.test/", (), b"{}", Clocks()),
        settings={},
        metadata=metadata or {},
        raw_metadata=msgspec.json.encode(metadata) if metadata else b"",
        ask=Ask(),
        now_ms=1_800_000_000_000,
        price=lambda usage, response_model="": None,
        country=country,
    )
