"""Whose budget a request is charged to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.policy_actor import ActorError, compile_actor
from aigw.controls.policy_condition import Facts
from tests.controls.policy_documents import ALICE

FACTS = Facts(
    {**ALICE, "custom": {"cost_center": 7, "team": {"name": "search"}}},
    {"user_id": "u1", "a.b": "dotted", "n": 1.5, "yes": True, "empty": ""},
    "US",
)


class ActorTests(SynchronousTestCase):
    def test_resolved(self) -> None:
        """Fields in braces become their values; the rest stays."""
        for text, expected in (
            ("company:all", "company:all"),
            ("user:{cf.user.id}", "user:alice"),
            ("{cf.user.email}", "alice@example.com"),
            ("user:{metadata.user_id}/{cf.country}!", "user:u1/US!"),
            ("cc:{cf.custom.cost_center}", "cc:7"),
            ("team:{cf.custom.team.name}", "team:search"),
            ("{metadata.a.b}", "dotted"),
            ("{metadata.n} {metadata.yes}", "1.5 true"),
        ):
            self.assertEqual(compile_actor(text).resolve(FACTS), expected)

    def test_unresolved(self) -> None:
        """A field that is missing, empty, or more than one value names no bucket."""
        for path in (
            "cf.user.nick",
            "cf.custom.x.y",
            "metadata.nobody",
            "metadata.empty",
            "cf.user.groups",
            "cf.custom.team",
            "cf.user.id.x",
        ):
            self.assertIsNone(compile_actor(f"x:{{{path}}}").resolve(FACTS), path)
        self.assertIsNone(compile_actor("{cf.country}").resolve(Facts({}, {}, "")))

    def test_refused(self) -> None:
        """A field that never has a value is found when the policy is written."""
        for text in (
            "{user.id}",
            "{}",
            "{cf.user}",
            "{cf.groups}",
            "{metadata.}",
            "{cf.user.id",
            "a}b",
            "{{cf.user.id}}",
        ):
            self.assertRaises(ActorError, compile_actor, text)
