"""An owner's policies: drafts, what is in force, and what would come of a request (section 7.4 of the reference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from aigw.controls.policy_book import PolicyBook, PolicyRefused, read_policy
from aigw.controls.policy_simulation import Simulation, simulate
from aigw.errors import AigwError, StorageUnavailable
from aigw.interfaces import IDocuments
from aigw.management.call import Refused
from aigw.storage.document_table import VersionConflict
from aigw.values.policy import Policy, PolicyChanges, PolicyForm, PolicyPlace

T = TypeVar("T")

Answer = dict[str, Any]

# So many others may change the same gateway's policies at the same moment.
_TRIES = 5


class ManagedPolicies:
    """
    Everything that can be done with policies; the answers are those of Cloudflare's API.

    Every change reaches all processes within a second. A draft decides nothing until it is committed.

    Args:
        documents: One document for each gateway that has policies.
        gateway_known: Whether there is a gateway of these names.
        utc_s: Unix seconds.
        new_id: Makes an id nobody has had.
        also_check: What else there is against a gateway's policies as they are stored; one sentence a problem. Those
            that were there before are no reason to refuse a change.
    """

    def __init__(
        self,
        documents: IDocuments,
        gateway_known: Callable[[str, str], bool],
        utc_s: Callable[[], int],
        new_id: Callable[[], str],
        also_check: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: (),
    ) -> None:
        self._documents = documents
        self._gateway_known = gateway_known
        self._utc_s = utc_s
        self._new_id = new_id
        self._also_check = also_check

    async def list(self, place: PolicyPlace, staging: bool = False) -> Answer:
        """Those in force, oldest first; with `staging` the drafts, too."""
        book = self._book(place)
        policies = [dict(policy) for policy in book.committed.values()]
        if staging:
            policies += ({**policy, "staging": True} for policy in book.drafts.values())
        return {"success": True, "result": sorted(policies, key=_age)}

    async def show(self, place: PolicyPlace, policy_id: str, staging: bool = False) -> Answer:
        """One in force; with `staging` its draft, where it has one."""
        book = self._book(place)
        found = book.find(policy_id, staging)
        if found is None:
            raise _unknown(policy_id)
        if staging and policy_id in book.drafts:
            return {"success": True, "result": {**found, "uncommitted": True}, "uncommitted": True}
        return {"success": True, "result": dict(found)}

    async def create(self, place: PolicyPlace, body: bytes, commit: bool = False) -> Answer:
        """A new draft; with `commit` it is in force at once."""
        form, now_s = _read(body, PolicyForm), self._utc_s()
        fields = msgspec.structs.asdict(form)
        policy = Policy(id=self._new_id(), created_at=now_s, updated_at=now_s, **fields)
        await self._change(place, lambda book: _kept(book, policy, commit))
        return {"success": True, "result": msgspec.to_builtins(policy), "committed": commit}

    async def update(self, place: PolicyPlace, policy_id: str, body: bytes, commit: bool = False) -> Answer:
        """A draft of another version of one in force, with the fields that change; with `commit` it is in force."""
        changes = msgspec.to_builtins(_read(body, PolicyChanges))

        def change(book: PolicyBook) -> PolicyBook:
            if policy_id not in book.committed:
                if policy_id in book.drafts:
                    raise Refused(409, "not-committed", f"Policy `{policy_id}` is a draft; commit or delete it")
                raise _unknown(policy_id)
            # What an earlier draft has changed stays changed.
            before = book.find(policy_id, drafts=True) or {}
            return _kept(book, read_policy({**before, **changes, "updated_at": self._utc_s()}), commit)

        await self._change(place, change)
        return {"success": True, "committed": commit}

    async def delete(self, place: PolicyPlace, policy_id: str) -> Answer:
        """Ends a policy at once, and its draft."""

        def change(book: PolicyBook) -> PolicyBook:
            if book.find(policy_id, drafts=True) is None:
                raise _unknown(policy_id)
            return book.without(policy_id)

        await self._change(place, change)
        return {"success": True}

    async def commit(self, place: PolicyPlace) -> Answer:
        """Puts all drafts in force, but for those that cannot be used."""
        done: list[Policy] = []
        failed: dict[str, str] = {}

        def change(book: PolicyBook) -> PolicyBook:
            nonlocal done, failed
            book, done, failed = book.commit()
            return book

        await self._change(place, change)
        result: Answer = {"committed": len(done), "failed": len(failed), "policies": msgspec.to_builtins(done)}
        if failed:
            result["errors"] = [{"policyId": policy_id, "message": why} for policy_id, why in failed.items()]
        return {"success": not failed, "result": result}

    async def simulate(self, place: PolicyPlace, body: bytes) -> Answer:
        """What would come of a request, by the policies in force; nothing is counted."""
        asked = _read(body, Simulation)
        committed = self._book(place).committed
        try:
            result = simulate([read_policy(committed[policy_id]) for policy_id in sorted(committed)], asked)
        except PolicyRefused as error:
            raise Refused(409, "unreadable", f"A policy in force cannot be read: {error}") from error
        return {"success": True, "result": result}

    def _book(self, place: PolicyPlace) -> PolicyBook:
        if not self._gateway_known(place.account, place.gateway):
            raise Refused(404, "no-such-gateway", f"There is no gateway `{place.account}/{place.gateway}`")
        if not self._documents.known:
            raise StorageUnavailable("the policies were not read yet")
        stored = self._documents.find(place.account, place.gateway)
        try:
            return PolicyBook.of(None if stored is None else stored.document)
        except PolicyRefused as error:
            raise Refused(409, "unreadable", f"The stored policies cannot be read: {error}") from error

    async def _change(self, place: PolicyPlace, change: Callable[[PolicyBook], PolicyBook]) -> None:
        """Write a book made of the present one; once more, when somebody else was faster."""
        for left in reversed(range(_TRIES)):
            stored = self._documents.find(place.account, place.gateway)
            version = 0 if stored is None else stored.version
            try:
                before = self._book(place)
                book = change(before)
                known = self._also_check(before.document())
                new = [problem for problem in self._also_check(book.document()) if problem not in known]
                if new:
                    raise PolicyRefused("; ".join(new))
                if stored is not None or book != PolicyBook():
                    await self._documents.put(place.account, place.gateway, book.document(), version)
                return
            except PolicyRefused as error:
                raise Refused(400, "invalid", str(error)) from error
            except VersionConflict as error:
                if not left:
                    raise Refused(409, "conflict", "Others are changing these policies; try again") from error
                await self._documents.compare()
            except (Refused, StorageUnavailable):
                raise
            except AigwError as error:
                raise Refused(409, "not-kept", f"The policies cannot be kept: {error}") from error


def _kept(book: PolicyBook, policy: Policy, commit: bool) -> PolicyBook:
    return book.with_committed(policy) if commit else book.with_draft(policy)


def _read(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(400, "invalid", str(error)) from error


def _unknown(policy_id: str) -> Refused:
    return Refused(404, "no-such-policy", f"There is no policy `{policy_id}`")


def _age(policy: Mapping[str, Any]) -> tuple[int, str]:
    return policy.get("created_at", 0), policy.get("id", "")
