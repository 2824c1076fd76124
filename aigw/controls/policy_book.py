"""All policies of one gateway: those in force, and drafts of the next ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
import msgspec

from aigw.controls.policy_actor import ActorError
from aigw.controls.policy_condition import ConditionError
from aigw.controls.policy_evaluation import CompiledPolicy, compile_policy
from aigw.errors import AigwError
from aigw.values.policy import Policy

MAX_POLICIES = 100

# Of all conditions in force together: what bounds the work for one request.
CONDITIONS_CHARS = 20_000

Documents = Mapping[str, Mapping[str, Any]]
_Stored = dict[Literal["committed", "drafts"], dict[str, dict[str, Any]]]


class PolicyRefused(AigwError):
    """A policy that cannot be kept; the text begins with the field that is wrong."""


@attrs.frozen
class PolicyBook:
    """
    Policies as they are stored, by id. A release that does not know all of a policy keeps it as it is.

    Attributes:
        committed: Those in force.
        drafts: New ones, and new versions of those in force.
    """

    committed: Documents = attrs.field(factory=dict)
    drafts: Documents = attrs.field(factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> PolicyBook:
        """
        The book in a stored document.

        Raises:
            PolicyRefused: The document is none of ours.
        """
        try:
            return cls(**msgspec.convert(document or {}, _Stored))
        except (msgspec.ValidationError, TypeError) as error:
            raise PolicyRefused(f"no policies that can be read: {error}") from error

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return {"committed": self.committed, "drafts": self.drafts}

    def find(self, policy_id: str, drafts: bool = False) -> Mapping[str, Any] | None:
        """A policy; with `drafts`, its draft goes first."""
        draft = self.drafts.get(policy_id) if drafts else None
        return draft or self.committed.get(policy_id)

    def with_draft(self, policy: Policy) -> PolicyBook:
        """
        With a draft more, or another one.

        Raises:
            PolicyRefused: See there.
        """
        ready(policy)
        return self._bounded(attrs.evolve(self, drafts={**self.drafts, policy.id: msgspec.to_builtins(policy)}))

    def with_committed(self, policy: Policy) -> PolicyBook:
        """
        With a policy put in force, and without a draft of it.

        Raises:
            PolicyRefused: See there.
        """
        ready(policy)
        committed = {**self.committed, policy.id: msgspec.to_builtins(policy)}
        return self._bounded(PolicyBook(committed, _without(self.drafts, policy.id)))

    def without(self, policy_id: str) -> PolicyBook:
        """Without a policy and its draft."""
        return PolicyBook(_without(self.committed, policy_id), _without(self.drafts, policy_id))

    def commit(self) -> tuple[PolicyBook, list[Policy], dict[str, str]]:
        """
        Put drafts in force.

        Returns:
            The book, the policies that are in force now, and why others stay drafts, by id.
        """
        book, done, failed = self, [], {}
        for policy_id in sorted(self.drafts):
            try:
                policy = read_policy(self.drafts[policy_id])
                book = book.with_committed(policy)
                done.append(policy)
            except PolicyRefused as error:
                failed[policy_id] = str(error)
        return book, done, failed

    def _bounded(self, book: PolicyBook) -> PolicyBook:
        if len(book.committed.keys() | book.drafts.keys()) > MAX_POLICIES:
            raise PolicyRefused(f"there are {MAX_POLICIES} policies already")
        if sum(_condition_chars(book.committed)) > CONDITIONS_CHARS:
            raise PolicyRefused(f"condition: all in force together are longer than {CONDITIONS_CHARS} characters")
        return book


def read_policy(document: Mapping[str, Any]) -> Policy:
    """
    A policy out of a stored one.

    Raises:
        PolicyRefused: This release cannot read it.
    """
    try:
        return msgspec.convert(document, Policy)
    except (msgspec.ValidationError, ValueError) as error:
        raise PolicyRefused(str(error)) from error


def ready(policy: Policy) -> CompiledPolicy:
    """
    A policy, compiled.

    Raises:
        PolicyRefused: Its condition or its actor cannot be used.
    """
    try:
        return compile_policy(policy)
    except ConditionError as error:
        raise PolicyRefused(f"condition: {error}") from error
    except ActorError as error:
        raise PolicyRefused(f"actor: {error}") from error


def _without(documents: Documents, policy_id: str) -> Documents:
    return {key: document for key, document in documents.items() if key != policy_id}


def _condition_chars(documents: Documents) -> Iterator[int]:
    return (len(str(document.get("condition", ""))) for document in documents.values())
