"""Conditions: what they say, and what they cannot do to the gateway."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.policy_condition import (
    IDENTITY_ITEMS,
    LOOP_CHARS,
    ConditionError,
    Facts,
    compile_condition,
)
from aigw.values.policy import CONDITION_CHARS
from tests.controls.policy_documents import ALICE

FACTS = Facts(ALICE, {"environment": "production", "n": 3, "f": 1.5, "b": True, "text": "x"}, "US")
NOBODY = Facts({}, {}, "")


class MeaningTests(SynchronousTestCase):
    def test_holds(self) -> None:
        """The examples of the reference mean what they say there; so does the rest of what a condition may use."""
        for text, expected in (
            ("true", True),
            (" true\n", True),
            ("false", False),
            ('"contractors" in cf.user.groups', True),
            ('"sales" in cf.user.groups', False),
            ('cf.user.email.endsWith("@example.com")', True),
            ('cf.user.email.startsWith("bob")', False),
            ('cf.country == "US"', True),
            ('cf.country in ["DE", "FR"]', False),
            ('metadata.environment == "production"', True),
            ('metadata["environment"] != "production"', False),
            ("metadata.n == 3", True),
            ("metadata.n == 3.0", True),
            ("metadata.f > 1 && metadata.f < 2", True),
            ("metadata.b", True),
            ("!metadata.b", False),
            ("cf.custom.cost_center == 7", True),
            ("has(cf.user.nick)", False),
            ("has(cf.user.id)", True),
            ("has(cf.user.nick) && cf.user.nick == 'al'", False),
            ('cf.user.groups.exists(g, g.startsWith("eng"))', True),
            ('metadata.n > 1 && cf.user.groups.all(g, g.contains("r"))', True),
            ("size(cf.user.groups) == 2", True),
            ('cf.user.id == "alice" ? metadata.b : false', True),
            ("true // always", True),
        ):
            self.assertIs(compile_condition(text).holds(FACTS), expected, text)

    def test_nobody_can_say(self) -> None:
        """A field that is missing, or of another kind than it is taken for, makes neither true nor false."""
        for text in (
            'cf.user.nick == "al"',
            '!(cf.user.nick == "al")',
            "cf.custom.a.b.c == 1",
            "metadata.environment < 5",
            "metadata.environment && true",
            'metadata.n.startsWith("3")',
            "cf.user.groups[9] == 'x'",
            "int(metadata.text) == 1",
            "metadata.n / 0 == 1",
            "cf.user.id",
            "metadata.n",
        ):
            self.assertIsNone(compile_condition(text).holds(FACTS), text)

    def test_what_is_known_decides(self) -> None:
        """Where the rest of a condition decides, a missing field does no harm."""
        self.assertIs(compile_condition('cf.user.nick == "al" || cf.country == "US"').holds(FACTS), True)
        self.assertIs(compile_condition('cf.user.nick == "al" && cf.country == "DE"').holds(FACTS), False)

    def test_nobody_is_known(self) -> None:
        """For a caller of whom nothing is known, fields are missing, and can be asked for."""
        self.assertIsNone(compile_condition('cf.country == "US"').holds(NOBODY))
        self.assertIsNone(compile_condition('"x" in cf.user.groups').holds(NOBODY))
        for text in ("has(cf.user.id)", "has(cf.country)", "has(cf.custom.x)", "has(metadata.x)"):
            self.assertIs(compile_condition(text).holds(NOBODY), False)


class MistakeTests(SynchronousTestCase):
    def refused(self, text: str) -> str:
        return str(self.assertRaises(ConditionError, compile_condition, text))

    def test_position(self) -> None:
        """A mistake is told with its line and column, so that its writer finds it."""
        self.assertTrue(self.refused("1 +").startswith("line 1, column 4: mismatched input"))
        self.assertTrue(self.refused('cf.country ==\n  "US').startswith("line 2, column 3: "))
        self.assertTrue(self.refused("true true").startswith("line 1, column 6: extraneous input 'true'"))

    def test_position_is_not_taken_from_the_text(self) -> None:
        """A condition that holds what looks like the parser's words does not mislead it."""
        self.assertTrue(self.refused('"ERROR: <input>:77:77: no" +').startswith("line 1, column 29: "))

    def test_names(self) -> None:
        """A mistyped name is found when the condition is written, not by the first caller."""
        self.assertEqual(self.refused('user.id == "x"'), "`user`: no such name; there are `cf` and `metadata`")
        self.assertIn("`.cf`", self.refused('.cf.country == "US"'))
        self.assertIn("`lower`", self.refused("cf.user.id.lower() == 'x'"))
        self.assertIn("`g`", self.refused('g == "x"'))


class BoundsTests(SynchronousTestCase):
    """No condition holds all requests up."""

    def test_refused(self) -> None:
        """What could take long, or much memory, is not taken in the first place."""
        for text in (
            'cf.user.id.matches("(\\\\w{50}){50}")',
            "[1,2].map(x, [x, x]) == []",
            "cf.user.groups.filter(g, true) == []",
            "[1].exists_one(x, true)",
            "cf.user.id + cf.user.id == 'x'",
            "cf.user.groups.exists(g, cf.user.groups.exists(h, h == g))",
            "cf.user.groups.exists(g, [g].all(h, h == g))",
            "cf.user.groups.exists(g, [g, g].all(g, true))",
            "cf.user.groups.exists(g, g in cf.user.groups)",
            "[cf.user.groups].exists(g, metadata.n in g)",
            "cf.user.groups.exists //all\n (g, true) || cf.user.groups\n.all(g, true)",
            "cel.bind(a, [1, 1], a == [a, a])",
            "cf.user.groups.all(g, " + " || ".join(["g == 'x'"] * 60) + ")",
            "true" + " || true" * 300,
            *(opening * 1_000 + "true" + closing * 1_000 for opening, closing in ("()", "[]")),
        ):
            self.assertRaises(ConditionError, compile_condition, text)

    def test_the_worst_that_is_taken(self) -> None:
        """What is taken is done at once, also for a caller in as many groups as there may be."""
        groups = [f"group-{number:08}" for number in range(IDENTITY_ITEMS - 10)]
        facts = Facts({"user": {"groups": groups, "id": "x" * 8_000}}, {"text": "a" * 8_000}, "US")
        members = " || ".join(['"z" in cf.user.groups'] * 80)
        elements = f"[{','.join(['cf.user.groups'] * 14)}].exists(l, {'||'.join(['l == l && false'] * 15)})"
        for text, expected in (
            (members, False),
            (elements, False),
            (f"[{','.join(['cf'] * 150)}].exists(l, l == l && false)", False),
            (f"[{','.join(['cf.user.groups'] * 130)}] == []", False),
            ("-" * (CONDITION_CHARS - 6) + "1 == 1", True),
        ):
            self.assertIs(compile_condition(text).holds(facts), expected)

    def test_an_identity_that_is_too_large(self) -> None:
        """Of a caller in more groups than can be gone through, nothing is known; `true` still holds."""
        facts = Facts({"user": {"id": "a", "groups": ["g"] * (IDENTITY_ITEMS + 1)}}, {}, "")
        self.assertIsNone(compile_condition('cf.user.id == "a"').holds(facts))
        self.assertIs(compile_condition("true").holds(facts), True)
        deep: dict[str, Any] = {}
        for _ in range(5_000):
            deep = {"a": deep}
        self.assertIsNone(
            compile_condition('cf.user.id == "a"').holds(Facts({"user": {"id": "a"}, "custom": deep}, {}, ""))
        )

    def test_numbers_beyond_64_bits(self) -> None:
        """Metadata with a number of 70 bits breaks nothing."""
        self.assertIs(compile_condition("metadata.n > 1").holds(Facts({}, {"n": 2**70}, "")), True)

    def test_lengths(self) -> None:
        """The longest condition is taken, one character more is not; with a loop, they are shorter."""
        compile_condition("true" + " " * (CONDITION_CHARS - 5) + "\n")
        compile_condition("true||true" + " " * (CONDITION_CHARS - 10))
        self.assertRaises(ConditionError, compile_condition, "true||true" + " " * (CONDITION_CHARS - 9))
        loop = "[1].all(x, true)"
        compile_condition(loop + " " * (LOOP_CHARS - len(loop)))
        self.assertRaises(ConditionError, compile_condition, loop + " " * (LOOP_CHARS - len(loop) + 1))

    @given(some.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever somebody types is a condition or a mistake, never a failure."""
        self.check(text)

    def check(self, text: str) -> None:
        """Compile and evaluate, and see three answers or a refusal."""
        try:
            condition = compile_condition(text)
        except ConditionError:
            return
        self.assertIn(condition.holds(FACTS), (True, False, None))

    @given(
        some.recursive(
            some.sampled_from(
                ["cf", "metadata.n", "cf.user.groups", "cf.user.id", "g", '"x"', "1", "1.5", "true", "[]"]
            ),
            lambda part: some.one_of(
                some.tuples(part, some.sampled_from(["==", "<", "&&", "||", "in", "-", "/", "%"]), part).map(
                    lambda three: f"({' '.join(three)})"
                ),
                some.tuples(part, part).map(lambda two: f"{two[0]}[{two[1]}]"),
                some.tuples(part, part).map(lambda two: f"{two[0]}.exists(g, {two[1]})"),
                some.tuples(part, part).map(lambda two: f"{two[0]}.startsWith({two[1]})"),
                part.map(lambda one: f"!{one}"),
                part.map(lambda one: f"size({one})"),
            ),
            max_leaves=8,
        )
    )
    def test_any_expression(self, text: str) -> None:
        """Whatever can be said in CEL holds, does not hold, or nobody can say."""
        self.check(text)
