"""
Stage 5 and a part of stage 7: what an owner's policies forbid, and what they let callers spend.

They are looked at before the cache: Cloudflare serves cached answers first, so that a caller who is blocked would still
be given what others have asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aigw.controls.limit import Limit
from aigw.controls.policy_rulings import PolicyRulings
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Visit
from aigw.errors import ControlUnavailable, PolicyDenied
from aigw.interfaces import IDocuments


class Policies:
    """
    The policies of every gateway: a guard and a source of limits.

    Args:
        documents: One for each gateway that has policies; their values are `PolicyRulings`.
        counts: What it did.
    """

    def __init__(self, documents: IDocuments, counts: StageCounts) -> None:
        self._documents = documents
        self._counts = counts

    def on_changed(self, call: Callable[[], None]) -> None:
        """Be called when the policies of any gateway have changed."""
        self._documents.on_changed(lambda account, gateway: call())

    def check(self, visit: Visit) -> None:
        """
        Let a step pass, or refuse it.

        Raises:
            PolicyDenied: A policy blocks it, or there are policies and none allows it.
            ControlUnavailable: Nobody can say what they say, and the owner chose `closed` for that.
        """
        rulings = self._rulings(visit)
        if rulings is None:
            return
        self._counts["policy"] += 1
        denied = rulings.rule(visit).denied
        if denied is not None:
            raise PolicyDenied(denied)
        if rulings.defective and visit.gateway.policies_when_down == "closed":
            raise ControlUnavailable("a policy cannot be read")

    def limits(self, visit: Visit) -> Sequence[Limit]:
        """What the step must fit into; `check` has let it pass."""
        rulings = self._rulings(visit)
        return () if rulings is None else rulings.rule(visit).limits

    def _rulings(self, visit: Visit) -> PolicyRulings | None:
        gateway = visit.gateway
        stored = self._documents.find(gateway.account, gateway.id)
        if stored is None:
            if not self._documents.known and gateway.policies_when_down == "closed":
                raise ControlUnavailable("the policies are not read yet")
            return None
        rulings: PolicyRulings = stored.value
        return rulings if rulings.any else None
