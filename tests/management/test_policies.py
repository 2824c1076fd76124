"""How an owner drafts, tries and puts policies in force."""

from __future__ import annotations

import itertools
import json
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue, execute, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.controls.policies import Policies
from aigw.controls.policy_book import CONDITIONS_CHARS, MAX_POLICIES, PolicyBook
from aigw.controls.policy_rulings import PolicyRulings, read_rulings
from aigw.controls.stage_counts import StageCounts
from aigw.errors import PolicyDenied, StorageUnavailable
from aigw.management.call import Refused
from aigw.management.policies import ManagedPolicies
from aigw.storage.database import Database
from aigw.storage.document_file import DocumentFile
from aigw.storage.document_table import VersionConflict
from aigw.storage.documents import Documents
from aigw.storage.dsn import read_dsn
from aigw.testing.documents import MemoryDocuments
from aigw.testing.postgres import fresh_database
from aigw.values.document import Stored
from aigw.values.policy import PolicyPlace
from tests.controls.policy_documents import keep, policy, visit

T = TypeVar("T")

PLACE = PolicyPlace("local", "g")
FORM = {
    "name": "everybody",
    "actor": "company:all",
    "resource": "*",
    "condition": "true",
    "action": {"type": "no-limit"},
}


class SharedDocuments(MemoryDocuments[PolicyRulings]):
    """
    Attributes:
        faster: What somebody else writes just before the next write, unseen until somebody compares.
    """

    faster: Mapping[str, Any] | None = None
    _unseen: bool = False

    def find(self, account: str, name: str) -> Stored[PolicyRulings] | None:
        return None if self._unseen else super().find(account, name)

    async def compare(self) -> None:
        self._unseen = False

    async def put(
        self, account: str, name: str, document: Mapping[str, Any], expected_version: int | None = None
    ) -> Stored[PolicyRulings]:
        theirs, self.faster = self.faster, None
        if theirs is not None:
            await super().put(account, name, theirs)
            self._unseen = True
        if self._unseen:
            raise VersionConflict("somebody was faster")
        return await super().put(account, name, document, expected_version)


class PoliciesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.documents = SharedDocuments(read_rulings)
        self.now_s = 1_000
        numbers = itertools.count(1)
        self.managed = ManagedPolicies(
            self.documents, lambda account, name: name == "g", lambda: self.now_s, lambda: f"id{next(numbers)}"
        )

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Any, Any, Any], status: int) -> str:
        refusal = self.failureResultOf(Deferred.fromCoroutine(work), Refused).value
        self.assertEqual(refusal.status, status)
        return str(refusal)

    def create(self, commit: bool = False, **fields: Any) -> str:
        """A policy, by its id."""
        body = json.dumps({**FORM, **fields}).encode()
        made: str = self.result(self.managed.create(PLACE, body, commit))["result"]["id"]
        return made

    def listed(self, staging: bool = False) -> list[tuple[str, str, bool]]:
        """Id, name and whether it is a draft."""
        policies = self.result(self.managed.list(PLACE, staging))["result"]
        return [(one["id"], one["name"], one.get("staging", False)) for one in policies]

    def in_force(self) -> bool:
        """Whether any policy decides about requests."""
        stored = self.documents.find("local", "g")
        return stored is not None and stored.value.any


class DraftTests(PoliciesTestCase):
    def test_create(self) -> None:
        """A new policy comes back complete, and is a draft that decides nothing."""
        answer = self.result(self.managed.create(PLACE, json.dumps(FORM).encode()))
        made = {**FORM, "id": "id1", "created_at": 1_000, "updated_at": 1_000}
        self.assertEqual(answer, {"success": True, "result": made, "committed": False})
        self.assertEqual((self.listed(), self.listed(True)), ([], [("id1", "everybody", True)]))
        self.assertFalse(self.in_force())
        shown = self.result(self.managed.show(PLACE, "id1", True))
        self.assertEqual(shown, {"success": True, "result": {**made, "uncommitted": True}, "uncommitted": True})
        self.refused(self.managed.show(PLACE, "id1"), 404)

    def test_create_and_commit(self) -> None:
        """With `commit`, it is in force at once, and no draft is left."""
        self.create(commit=True)
        self.assertEqual(self.listed(True), [("id1", "everybody", False)])
        self.assertTrue(self.in_force())
        self.assertEqual(self.result(self.managed.show(PLACE, "id1"))["result"]["name"], "everybody")

    def test_update(self) -> None:
        """A changed version is a draft beside the one in force, until it is committed; drafts build on each other."""
        self.create(commit=True)
        self.now_s = 2_000
        changed = self.result(self.managed.update(PLACE, "id1", b'{"name": "all"}'))
        self.assertEqual(changed, {"success": True, "committed": False})
        self.result(self.managed.update(PLACE, "id1", b'{"action": {"type": "block"}}'))
        self.assertEqual(self.listed(True), [("id1", "everybody", False), ("id1", "all", True)])
        self.result(self.managed.commit(PLACE))
        expected = {**FORM, "name": "all", "action": {"type": "block"}, "created_at": 1_000, "updated_at": 2_000}
        self.assertEqual(self.result(self.managed.show(PLACE, "id1", True))["result"], {**expected, "id": "id1"})

    def test_update_and_commit(self) -> None:
        """With `commit`, the changes are in force at once, those of an earlier draft among them."""
        self.create(commit=True)
        self.result(self.managed.update(PLACE, "id1", b'{"name": "all"}'))
        self.assertTrue(self.result(self.managed.update(PLACE, "id1", b'{"actor": "x"}', True))["committed"])
        self.assertEqual(self.listed(True), [("id1", "all", False)])

    def test_only_committed_ones_are_updated(self) -> None:
        """A new draft is committed or deleted, not updated."""
        self.create()
        self.refused(self.managed.update(PLACE, "id1", b'{"name": "all"}'), 409)
        self.refused(self.managed.update(PLACE, "nobody", b'{"name": "all"}'), 404)

    def test_delete(self) -> None:
        """A deleted policy is gone at once, and its draft is gone with it."""
        self.create(commit=True)
        self.result(self.managed.update(PLACE, "id1", b'{"name": "all"}'))
        self.assertEqual(self.result(self.managed.delete(PLACE, "id1")), {"success": True})
        self.assertEqual((self.listed(True), self.in_force()), ([], False))
        self.refused(self.managed.delete(PLACE, "id1"), 404)

    def test_commit(self) -> None:
        """All drafts are put in force; what cannot be used stays a draft, and the answer says why."""
        self.create()
        kept = self.book()
        broken = {**kept.drafts["id1"], "id": "broken", "condition": "1 +"}
        drafts = {**kept.drafts, "broken": broken, "new": {"id": "new", "kind": "of another release"}}
        keep(self.documents, PolicyBook(kept.committed, drafts).document())
        answer = self.result(self.managed.commit(PLACE))
        result = answer["result"]
        self.assertEqual((answer["success"], result["committed"], result["failed"]), (False, 1, 2))
        self.assertEqual([one["id"] for one in result["policies"]], ["id1"])
        self.assertEqual([error["policyId"] for error in result["errors"]], ["broken", "new"])
        self.assertIn("condition: line 1, column 4", result["errors"][0]["message"])
        self.assertEqual(sorted(self.book().drafts), ["broken", "new"])

    def test_commit_of_nothing(self) -> None:
        """Without drafts there is nothing to do, and nothing is written."""
        expected = {"success": True, "result": {"committed": 0, "failed": 0, "policies": []}}
        self.assertEqual(self.result(self.managed.commit(PLACE)), expected)
        self.assertIsNone(self.documents.find("local", "g"))

    def book(self) -> PolicyBook:
        """As it is stored."""
        stored = self.documents.find("local", "g")
        return PolicyBook.of(None if stored is None else stored.document)


class RefusalTests(PoliciesTestCase):
    def test_wrong_fields(self) -> None:
        """A policy that cannot be is refused with 400 and the field that is wrong."""
        for fields, told in (
            ({"condition": "1 +"}, "condition: line 1, column 4"),
            ({"condition": "user.id == 1"}, "condition: `user`"),
            ({"actor": "user:{cf.id}"}, "actor: `cf.id`"),
            ({"action": {"type": "limit", "amount": 0, "period": "daily"}}, "$.action.amount"),
            ({"resource": {"models": "x"}}, "$.resource"),
            ({"id": "mine"}, "`id`"),
        ):
            for commit in (False, True):
                body = json.dumps({**FORM, **fields}).encode()
                self.assertIn(told, self.refused(self.managed.create(PLACE, body, commit), 400))
        made = self.create(commit=True)
        self.assertIn("column 4", self.refused(self.managed.update(PLACE, made, b'{"condition": "1 +"}'), 400))
        self.assertIn("`nmae`", self.refused(self.managed.update(PLACE, made, b'{"nmae": "x"}'), 400))
        for body in (b"", b"[]", b"{", b'"\xff"', b"[" * 100_000):
            self.refused(self.managed.create(PLACE, body), 400)

    def test_no_such_gateway(self) -> None:
        """A mistyped gateway gets no policies that would guard nothing."""
        self.refused(self.managed.create(PolicyPlace("local", "typo"), json.dumps(FORM).encode()), 404)
        self.refused(self.managed.list(PolicyPlace("local", "typo")), 404)

    def test_bounds(self) -> None:
        """Policies, and all their conditions together, are bounded."""
        for _ in range(10):
            self.create(commit=True, condition="cf.country == 'US'" + " " * (CONDITIONS_CHARS // 10 - 18))
        body = json.dumps(FORM).encode()
        self.assertIn("20000", self.refused(self.managed.create(PLACE, body, True), 400))
        for _ in range(MAX_POLICIES - 10):
            self.create()
        self.assertIn("100 policies", self.refused(self.managed.create(PLACE, body), 400))

    def test_not_read_yet(self) -> None:
        """Nothing is written over policies that were not read yet."""
        self.documents.known = False
        work = Deferred.fromCoroutine(self.managed.create(PLACE, json.dumps(FORM).encode()))
        self.failureResultOf(work, StorageUnavailable)

    def test_two_owners_at_once(self) -> None:
        """Of two changes at the same moment none is lost."""
        self.documents.faster = PolicyBook().with_committed(policy("other")).document()
        self.create(commit=True)
        self.assertEqual(sorted(self.listed()), [("id1", "everybody", False), ("other", "other", False)])


class SimulationTests(PoliciesTestCase):
    def simulate(self, **asked: Any) -> dict[str, Any]:
        """What would come of a request."""
        body = json.dumps({"model": "gpt-4o", "provider": "openai", "identity": {}, **asked}).encode()
        answer = self.result(self.managed.simulate(PLACE, body))
        self.assertTrue(answer["success"])
        result: dict[str, Any] = answer["result"]
        return result

    def test_no_policies(self) -> None:
        """Without policies everything is allowed."""
        evaluation = {"decision": "no-limit", "buckets": []}
        expected = {"evaluation": evaluation, "enforcement": {"allowed": True}, "policiesEvaluated": 0}
        self.assertEqual(self.simulate(), expected)

    def test_blocked(self) -> None:
        """Who would be blocked, and by which policy; a draft does not count."""
        self.create(condition='cf.user.id == "alice"', name="no alice", action={"type": "block"})
        self.assertEqual(self.simulate()["policiesEvaluated"], 0)
        self.result(self.managed.commit(PLACE))
        self.create(commit=True, condition='metadata.environment == "test" && cf.country == "US"')
        alice = {"cf": {"user": {"id": "alice"}}}
        found = self.simulate(identity=alice)
        self.assertEqual(found["evaluation"], {"decision": "block", "buckets": []})
        denied = {"allowed": False, "reason": "blocked", "policyName": "no alice"}
        self.assertEqual((found["enforcement"], found["policiesEvaluated"]), (denied, 2))
        bob: dict[str, Any] = {"cf": {"user": {"id": "bob"}, "country": "US"}}
        self.assertEqual(self.simulate(identity=bob)["enforcement"], {"allowed": False, "reason": "blocked"})
        bob["metadata"] = {"environment": "test"}
        self.assertEqual(self.simulate(identity=bob)["enforcement"], {"allowed": True})

    def test_limits(self) -> None:
        """Budgets are held against what is said to be spent, by the policy's name."""
        cap = {"amount": 5.0, "period": "daily", "technique": "named-interval"}
        self.create(commit=True, name="mine", actor="user:{cf.user.id}", action={"type": "limit", **cap})
        alice = {"cf": {"user": {"id": "alice"}}}
        found = self.simulate(identity=alice, bucketUsage={"mine": {"spent": 4.9}})
        bucket = {"bucket": "user:alice", "policies": ("mine",), "limits": [cap], "spent": 4.9}
        self.assertEqual(found["evaluation"], {"decision": "check_limits", "buckets": [bucket]})
        self.assertEqual(found["enforcement"], {"allowed": True})
        found = self.simulate(identity=alice, bucketUsage={"mine": {"spent": 5}})
        over = {"allowed": False, "reason": "limit_exceeded", "policyName": "mine"}
        self.assertEqual(found["enforcement"], {**over, "bucket": "user:alice", "spent": 5.0, "limit": 5.0})
        self.create(commit=True, name="free", actor="user:alice")
        found = self.simulate(identity=alice, bucketUsage={"mine": {"spent": 5}})
        self.assertEqual((found["evaluation"]["decision"], found["enforcement"]), ("no-limit", {"allowed": True}))

    def test_wrong_question(self) -> None:
        """A question that nobody can answer is refused."""
        for body in (b"{}", b'{"model": 1, "provider": "openai"}', b'{"model": "a", "provider": "b", "bucketUse": {}}'):
            self.refused(self.managed.simulate(PLACE, body), 400)


class SharedPoliciesTests(TestCase):
    """Two processes with one PostgreSQL between them."""

    async def setUp(self) -> None:
        self.database = Database(reactor, read_dsn(await fresh_database(reactor)))
        self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        await self.database.reached()

    async def node(self) -> Documents[PolicyRulings]:
        """What one process knows."""
        file = DocumentFile(Path(self.mktemp()), execute)
        documents = Documents("policies", self.database, file, read_rulings, Clock())
        documents.start()
        self.addCleanup(documents.stop)
        await documents.compare()
        return documents

    async def test_a_policy_reaches_the_other_process(self) -> None:
        """What an owner puts in force on one process decides on the other, without anybody asking; a draft does not."""
        here, there = await self.node(), await self.node()
        told: DeferredQueue[None] = DeferredQueue()
        there.on_changed(lambda account, name: told.put(None))
        guard = Policies(there, StageCounts())
        managed = ManagedPolicies(here, lambda account, name: True, lambda: 1, lambda: "id1")
        await managed.create(PLACE, json.dumps({**FORM, "action": {"type": "block"}}).encode())
        await told.get()
        guard.check(visit())
        await managed.commit(PLACE)
        await told.get()
        self.assertRaises(PolicyDenied, guard.check, visit())
        await managed.delete(PLACE, "id1")
        await told.get()
        guard.check(visit())

    async def test_owners_on_two_processes(self) -> None:
        """Of changes made on two processes at once, none is lost."""
        numbers = itertools.count()
        offices = [
            ManagedPolicies(await self.node(), lambda account, name: True, lambda: 1, lambda: f"id{next(numbers)}")
            for _ in range(2)
        ]
        body = json.dumps(FORM).encode()
        await gatherResults([Deferred.fromCoroutine(office.create(PLACE, body, True)) for office in offices * 2])
        fresh = ManagedPolicies(await self.node(), lambda account, name: True, lambda: 1, lambda: "")
        self.assertEqual(len((await fresh.list(PLACE))["result"]), 4)
