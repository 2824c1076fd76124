"""What callers meet where a gateway has policies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.limit import Overrun
from aigw.controls.policies import Policies
from aigw.controls.policy_book import PolicyBook
from aigw.controls.policy_rulings import KNOWN_CALLERS, KNOWN_MODELS, PolicyRulings
from aigw.controls.reserve import Reserve
from aigw.controls.stage_counts import StageCounts
from aigw.errors import ControlUnavailable, GatewayError, PolicyDenied
from aigw.serving.refusal import error_body
from aigw.values.policy import Policy
from tests.controls.policy_documents import ALICE, keep, policy, policy_documents, visit
from tests.controls.visits import Desk, fixed_price

BOB = {**ALICE, "user": {"id": "bob", "email": "bob@example.com", "groups": []}}


class PoliciesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.documents = policy_documents()
        self.counts = StageCounts()
        self.policies = Policies(self.documents, self.counts)

    def keep(self, *policies: Policy, drafts: tuple[Policy, ...] = ()) -> None:
        """Put policies in force, in place of others."""
        book = PolicyBook()
        for one in policies:
            book = book.with_committed(one)
        for one in drafts:
            book = book.with_draft(one)
        keep(self.documents, book.document())

    def denied(self, **asked: Any) -> PolicyDenied:
        """How a request is refused."""
        error: PolicyDenied = self.assertRaises(PolicyDenied, self.policies.check, visit(**asked))
        return error

    def keys(self, **asked: Any) -> list[str]:
        """The counters that a request is held to."""
        return [limit.key for limit in self.policies.limits(visit(**asked))]


class GuardTests(PoliciesTestCase):
    def test_no_policies(self) -> None:
        """A gateway without policies lets everything pass, and nothing is counted for it."""
        self.policies.check(visit())
        self.assertEqual((tuple(self.policies.limits(visit())), self.counts["policy"]), ((), 0))

    def test_denied(self) -> None:
        """Who is blocked gets 403 in Cloudflare's words; the owner's log says which policy it was."""
        self.keep(
            policy("a"), policy("contractors", action={"type": "block"}, condition='"contractors" in cf.user.groups')
        )
        error = self.denied(identity=ALICE)
        self.assertEqual(error.status, 403)
        expected = {"success": False, "error": {"message": "Access denied by policy"}}
        self.assertEqual(json.loads(error_body(error)), expected)
        self.assertEqual(error.message, "Access denied by policy: `contractors`")
        self.policies.check(visit(BOB))
        self.assertEqual(self.counts["policy"], 2)

    def test_nothing_matches(self) -> None:
        """As soon as there is one policy, what none of them allows is refused."""
        self.keep(policy("a", resource={"model": "o3"}))
        self.denied()
        self.policies.check(visit(model="o3"))

    def test_nobody(self) -> None:
        """A caller without an identity is refused by a block that asks for one, and allowed nothing by the rest."""
        self.keep(policy("a"), policy("b", action={"type": "block"}, condition='cf.user.id == "bob"'))
        self.denied()
        self.keep(policy("a", condition='cf.user.id == "alice"'))
        self.denied()
        self.policies.check(visit(ALICE))

    def test_empty_claims(self) -> None:
        """A person of whom the identity provider tells no address is one whose address is missing."""
        self.keep(
            policy("a"), policy("b", action={"type": "block"}, condition='!cf.user.email.endsWith("@example.com")')
        )
        self.policies.check(visit(ALICE))
        self.denied(identity={"user": {"id": "x", "email": ""}})
        self.keep(policy("a", actor="user:{cf.user.email}"))
        self.denied(identity={"user": {"id": "x", "email": ""}})

    def test_metadata_and_country(self) -> None:
        """Conditions see the request's own metadata and country, also when only those differ."""
        self.keep(policy("a", condition='metadata.environment == "test" || cf.country == "US"'))
        self.policies.check(visit(metadata={"environment": "test"}))
        self.denied(metadata={"environment": "production"})
        self.policies.check(visit(country="US"))
        self.denied(country="DE")
        self.denied()

    def test_drafts_decide_nothing(self) -> None:
        """A draft neither blocks nor allows, and does not make a gateway one with policies."""
        block = policy("b", action={"type": "block"})
        self.keep(drafts=(block,))
        self.policies.check(visit())
        self.keep(policy("a"), drafts=(block, policy("a", condition="false")))
        self.policies.check(visit())

    def test_changes_hold_at_once(self) -> None:
        """A policy that is put in force decides about the next request of a caller who was here before."""
        self.keep(policy("a"))
        self.policies.check(visit(ALICE))
        self.keep(policy("a"), policy("b", action={"type": "block"}))
        self.denied(identity=ALICE)

    def test_other_gateways(self) -> None:
        """Policies of one gateway say nothing about another."""
        keep(self.documents, PolicyBook().with_committed(policy("b", condition="false")).document(), "other")
        self.policies.check(visit())

    def test_memory_is_bounded(self) -> None:
        """Callers who send ever other metadata or models do not fill the memory."""
        self.keep(policy("a", condition="has(metadata.n)"))
        for number in range(KNOWN_CALLERS + 10):
            self.policies.check(visit(metadata={"n": number}))
        for number in range(KNOWN_MODELS * 3):
            self.policies.check(visit(metadata={"n": 0}, model=f"m{number}"))
        stored = self.documents.find("local", "g")
        assert stored is not None
        rulings: PolicyRulings = stored.value
        self.assertEqual(rulings.known(), (KNOWN_CALLERS, KNOWN_MODELS))


class DownTests(PoliciesTestCase):
    """What happens when nobody can say what the policies say."""

    unreadable = {**PolicyBook().with_committed(policy("x")).committed["x"], "action": {"type": "ask-a-human"}}

    def defective(self, *more: Policy) -> None:
        book = PolicyBook({"new": self.unreadable})
        for one in more:
            book = PolicyBook({**book.committed, **PolicyBook().with_committed(one).committed})
        keep(self.documents, book.document())
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_open(self) -> None:
        """By default such requests pass, as Cloudflare lets them; what is known to be blocked stays blocked."""
        self.defective()
        self.policies.check(visit())
        self.defective(policy("b", action={"type": "block"}, resource={"model": "o3"}))
        self.policies.check(visit())
        self.denied(model="o3")

    def test_closed(self) -> None:
        """An owner who wants such requests refused has them refused with 503."""
        self.defective(policy("a"))
        error: GatewayError = self.assertRaises(ControlUnavailable, self.policies.check, visit(when_down="closed"))
        self.assertEqual((error.status, error.retryable), (503, True))

    def test_documents_of_another_shape(self) -> None:
        """A document that is none of ours does not open the gateway to everybody where its owner said `closed`."""
        documents: tuple[dict[str, Any], ...] = (
            {"committed": []},
            {"policies": {}},
            {"committed": {"a": 1}},
            {"committed": {"a": {}}},
        )
        for document in documents:
            keep(self.documents, document)
            self.policies.check(visit())
            self.assertRaises(ControlUnavailable, self.policies.check, visit(when_down="closed"))

    def test_not_read_yet(self) -> None:
        """Before the first look into database or copy, requests pass or not by the same choice."""
        self.documents.known = False
        self.policies.check(visit())
        self.assertRaises(ControlUnavailable, self.policies.check, visit(when_down="closed"))


class LimitsTests(PoliciesTestCase):
    daily = {"type": "limit", "amount": 1.5, "period": "daily", "technique": "named-interval"}

    def test_limit(self) -> None:
        """A budget is in nano-dollars, for an interval of the calendar, among the counters that outlive a restart."""
        self.keep(policy("mine", actor="user:{cf.user.id}", action=self.daily))
        (limit,) = self.policies.limits(visit(ALICE))
        self.assertTrue(limit.key.startswith("spend:policy:local/g:"))
        self.assertEqual((limit.unit, limit.limit, limit.name, limit.open), ("usd", 1_500_000_000, "mine", True))
        span = limit.window.at(visit().now_ms)
        self.assertEqual((span.slot % 86_400, span.expires_ms - span.slot * 1000), (0, 86_400_000))

    def test_counters(self) -> None:
        """Each person has a counter, whose key names nobody and does not change with the policy's name or amount."""
        self.keep(policy("mine", actor="user:{cf.user.id}", action=self.daily))
        (alice,), (bob,) = self.keys(identity=ALICE), self.keys(identity=BOB)
        self.assertNotEqual(alice, bob)
        self.assertNotIn("alice", alice)
        self.keep(policy("yours", actor="user:{cf.user.id}", action={**self.daily, "amount": 9}))
        self.assertEqual(self.keys(identity=ALICE), [alice])
        weekly = policy("w", actor="user:{cf.user.id}", action={**self.daily, "period": "weekly"})
        self.keep(policy("mine", actor="user:{cf.user.id}", action=self.daily), weekly)
        self.assertEqual(len(set(self.keys(identity=ALICE))), 2)
        self.assertIn(alice, self.keys(identity=ALICE))

    def test_no_limit(self) -> None:
        """A bucket whose check is switched off has no counter."""
        self.keep(policy("a", action=self.daily), policy("b", condition='cf.user.id == "alice"'))
        self.assertEqual((len(self.keys(identity=ALICE)), len(self.keys(identity=BOB))), (0, 1))

    def test_refusal(self) -> None:
        """Who has spent the budget gets 429 with the bucket, what is spent, and the limit."""
        self.keep(policy("mine", actor="user:{cf.user.id}", action=self.daily))
        asked = visit(ALICE)
        (limit,) = self.policies.limits(asked)
        error = limit.refusal(Overrun(1_600_000_000, limit.limit, 30), asked)
        told = {"message": "Spending limit exceeded", "bucket": "user:alice", "spent": 1.6, "limit": 1.5}
        self.assertEqual(json.loads(error_body(error)), {"success": False, "error": told})
        self.assertEqual((error.status, error.code), (429, 4066))

    def test_long_names(self) -> None:
        """A caller's long metadata makes neither a long counter nor a long answer."""
        self.keep(policy("mine", actor="user:{metadata.user}", action=self.daily))
        asked = visit(metadata={"user": "u" * 5_000})
        (limit,) = self.policies.limits(asked)
        self.assertLess(len(limit.key), 100)
        self.assertLess(len(error_body(limit.refusal(Overrun(2, 1, 1), asked))), 500)

    def test_when_counters_are_away(self) -> None:
        """The gateway's choice holds for its policies' budgets, also for a caller who was here before it changed."""
        self.keep(policy("a", action=self.daily))
        for when_down in ("open", "closed", "open"):
            (limit,) = self.policies.limits(visit(when_down=when_down))
            self.assertEqual(limit.open, when_down == "open")


class BudgetTests(PoliciesTestCase):
    """A policy's budget, with the counters that all limits share."""

    def setUp(self) -> None:
        super().setUp()
        self.desk = Desk()
        self.reserve = Reserve(self.desk.till, [self.policies], self.counts)

    def spend(self, usd: float, identity: Any) -> GatewayError | None:
        """Ask for something that costs so much; why that is refused, or None."""
        asked = msgspec.structs.replace(visit(identity), price=fixed_price(usd))
        try:
            self.policies.check(asked)
            self.reserve.take(asked)
        except GatewayError as error:
            return error
        return None

    def test_many_at_once(self) -> None:
        """Of 200 requests at a cent each against ten cents a day, ten pass; the others hear when to come again."""
        cap = {"type": "limit", "amount": 0.1, "period": "daily", "technique": "named-interval"}
        self.keep(policy("mine", actor="user:{cf.user.id}", action=cap))
        refusals = [self.spend(0.01, ALICE) for _ in range(200)]
        self.assertEqual([refusal is None for refusal in refusals], [True] * 10 + [False] * 190)
        error = refusals[-1]
        assert error is not None
        told = {"message": "Spending limit exceeded", "bucket": "user:alice", "spent": 0.1, "limit": 0.1}
        self.assertEqual(json.loads(error_body(error))["error"], told)
        self.assertEqual([name for name, _ in error.headers], [b"retry-after"])
        self.assertIsNone(self.spend(0.01, BOB))
        self.desk.clock.advance(86_400)
        self.assertIsNone(self.spend(0.01, ALICE))

    def test_every_bucket_must_have_room(self) -> None:
        """The smallest of several budgets refuses, and what it refuses is charged to none of them."""
        cap = {"type": "limit", "amount": 0.05, "period": "daily", "technique": "named-interval"}
        ours = policy("ours", actor="company", action={**cap, "period": "hourly"})
        self.keep(policy("mine", actor="user:{cf.user.id}", action=cap), ours)
        for _ in range(4):
            self.assertIsNone(self.spend(0.01, ALICE))
        self.assertIsNone(self.spend(0.01, BOB))
        error = self.spend(0.01, BOB)
        assert error is not None
        self.assertEqual(json.loads(error_body(error))["error"]["bucket"], "company")
        self.desk.clock.advance(3_600)
        self.assertIsNone(self.spend(0.01, ALICE))
        error = self.spend(0.01, ALICE)
        assert error is not None
        self.assertEqual(json.loads(error_body(error))["error"]["bucket"], "user:alice")
