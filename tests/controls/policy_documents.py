"""Documents in memory, and visits, for tests of policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from zope.interface import implementer

from aigw.controls.authentication import ANONYMOUS, Caller
from aigw.controls.policy_rulings import PolicyRulings, read_rulings
from aigw.controls.visit import Visit
from aigw.interfaces import IDocuments
from aigw.storage.document_table import VersionConflict
from aigw.values.document import Stored
from aigw.values.gateway import Gateway, WhenDown
from aigw.values.policy import Policy
from aigw.values.record import Target
from aigw.values.step import Ask, Clocks, UpstreamRequest

ALICE: Mapping[str, Any] = {
    "user": {"id": "alice", "email": "alice@example.com", "groups": ["engineering", "contractors"]},
    "custom": {"cost_center": 7},
}


@implementer(IDocuments)
class MemoryDocuments:
    """
    What one process knows of all gateways' policies.

    Attributes:
        known: As in the interface.
        before_put: Called before a document is written, as if somebody else were faster.
    """

    def __init__(self) -> None:
        self.known = True
        self.before_put: Callable[[], None] = lambda: None
        self._stored: dict[tuple[str, str], Stored[PolicyRulings]] = {}
        self._version = 0

    def find(self, account: str, name: str) -> Stored[PolicyRulings] | None:
        return self._stored.get((account, name))

    def all(self) -> list[Stored[PolicyRulings]]:
        return list(self._stored.values())

    def on_changed(self, call: Callable[[str, str], None]) -> None:
        raise NotImplementedError

    def keep(self, account: str, name: str, document: Mapping[str, Any]) -> Stored[PolicyRulings]:
        """Write without asking anything."""
        self._version += 1
        plain = msgspec.json.decode(msgspec.json.encode(document))
        stored = Stored(account, name, plain, read_rulings(account, name, plain), self._version, 0, 0)
        self._stored[(account, name)] = stored
        return stored

    async def compare(self) -> None:
        pass

    async def put(
        self, account: str, name: str, document: Mapping[str, Any], expected_version: int | None = None
    ) -> Stored[PolicyRulings]:
        before, self.before_put = self.before_put, lambda: None
        before()
        there = self._stored.get((account, name))
        if expected_version is not None and expected_version != (0 if there is None else there.version):
            raise VersionConflict("somebody was faster")
        return self.keep(account, name, document)

    async def delete(self, account: str, name: str, expected_version: int | None = None) -> bool:
        return self._stored.pop((account, name), None) is not None


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
