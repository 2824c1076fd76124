"""Names with a star in them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.patterns import matcher, uncovered

PATTERNS = st.text("ab/*", max_size=8)
NAMES = st.text("ab/", max_size=8)


def simple(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled without any care for speed."""
    return re.compile("[^/]*".join(map(re.escape, pattern.split("*"))))


class MatcherTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A star stands for anything but a slash, also for nothing; without one, names are taken to the letter."""
        for pattern, name, matches in (
            ("gpt-4o", "gpt-4o", True),
            ("gpt-4o", "gpt-4o-mini", False),
            ("gpt-4o", "GPT-4o", False),
            ("gpt-*", "gpt-4o", True),
            ("gpt-*", "gpt-", True),
            ("gpt-*", "x-gpt-4o", False),
            ("*", "gpt-4o", True),
            ("*", "openai/gpt-4o", False),
            ("openai/*", "openai/gpt-4o", True),
            ("*/*", "openai/gpt-4o", True),
            ("@cf/*/llama-*", "@cf/meta/llama-3", True),
            ("@cf/*/llama-*", "@cf/meta/x/llama-3", False),
            ("a.c", "abc", False),
            ("gpt-*", "gpt-\n", True),
        ):
            self.assertEqual(matcher((pattern,))(name), matches, (pattern, name))
            self.assertEqual(matcher(("never", pattern))(name), matches, (pattern, name))

    @given(PATTERNS, NAMES)
    def test_as_simply_compiled(self, pattern: str, name: str) -> None:
        """What makes matching fast changes no answer."""
        self.assertEqual(matcher((pattern,))(name), simple(pattern).fullmatch(name) is not None)

    def test_a_hostile_name(self) -> None:
        """A name that almost matches a pattern of many stars is refused without much ado."""
        self.assertFalse(matcher(("*a" * 20 + "b",))("a" * 2_000))


class CoverTests(SynchronousTestCase):
    def test_what_is_covered(self) -> None:
        """A narrower list names nothing beyond the wider one; nothing at all is as wide as everything."""
        for narrow, wide, beyond in (
            (("gpt-4o",), ("gpt-*",), None),
            (("gpt-4*",), ("gpt-*",), None),
            (("gpt-*",), ("gpt-4*",), "gpt-*"),
            (("*",), ("gpt-*", "o*"), "*"),
            (("*/x",), ("*",), "*/x"),
            (("a", "b"), ("a",), "b"),
            (("anything",), (), None),
            ((), ("a",), None),
        ):
            self.assertEqual(uncovered(narrow, wide), beyond, (narrow, wide))

    @given(PATTERNS, st.lists(PATTERNS, min_size=1, max_size=3), NAMES)
    def test_never_wider(self, narrow: str, wide: list[str], name: str) -> None:
        """Whatever a covered pattern matches is matched by one that covers it."""
        if uncovered([narrow], tuple(wide)) is None and matcher((narrow,))(name):
            self.assertTrue(matcher(tuple(wide))(name))
