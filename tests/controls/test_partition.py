"""Which requests a rule is for, and how its counters are told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Bound, Caller
from aigw.controls.partition import filters, key_text, metadata_text, part
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds
from aigw.values.step import Ask
from tests.controls.visits import visit

GATEWAY = Gateway(id="default")


class FilterTests(SynchronousTestCase):
    def test_models_and_providers(self) -> None:
        """A rule for `gpt-*` holds for every model of that beginning, in either case; a `*` stops at a slash."""
        cases = [
            (("gpt-4o",), "gpt-4o", True),
            (("gpt-4o",), "gpt-4o-mini", False),
            (("gpt-*",), "GPT-4o-mini", True),
            (("gpt-*",), "meta/gpt-2", False),
            (("@cf/meta/*",), "@cf/meta/llama-3", True),
            (("@cf/*",), "@cf/meta/llama-3", False),
            (("claude", "gpt-4o"), "gpt-4o", True),
            (("gpt-4.o",), "gpt-4-o", False),
            (("gpt-4o",), "gpt-4o\n", False),
        ]
        for patterns, model, expected in cases:
            with self.subTest(patterns=patterns, model=model):
                (holds,) = filters(patterns, (), {})
                self.assertEqual(holds(visit(GATEWAY, model=model)), expected)
                (holds,) = filters((), patterns, {})
                self.assertEqual(holds(visit(GATEWAY, provider=model)), expected)

    def test_a_model_that_cannot_be_told(self) -> None:
        """Every rule for models holds for a step whose model is not sure, and all such steps share a counter."""
        (holds,) = filters(("gpt-*",), (), {})
        unsure = visit(GATEWAY, model="claude", ask=Ask("claude", sure=False))
        self.assertTrue(holds(unsure))
        self.assertFalse(holds(visit(GATEWAY, model="claude")))
        self.assertEqual(part("model")(unsure), "?")

    def test_metadata(self) -> None:
        """A rule for one plan holds for requests that say so, whatever type they say it in."""
        cases: list[tuple[tuple[str, ...], dict[str, str | int | float | bool], bool]] = [
            (("free", "trial"), {"plan": "trial"}, True),
            (("free",), {"plan": "Free"}, False),
            (("free",), {}, False),
            (("true",), {"plan": True}, True),
            (("1",), {"plan": True}, False),
            (("5",), {"plan": 5}, True),
            (("0.5",), {"plan": 0.5}, True),
        ]
        for values, metadata, expected in cases:
            with self.subTest(values=values, metadata=metadata):
                (holds,) = filters((), (), {"plan": values})
                self.assertEqual(holds(visit(GATEWAY, metadata=metadata)), expected)


class PartTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Tokens, teams, users, providers, models and metadata each have counters of their own."""
        full = visit(GATEWAY, Caller("tok_1", True, "blue", "ann"), "openai", "GPT-4o", {"plan": "free"})
        empty = visit(GATEWAY, model="")
        for name, value in (
            ("token", "tok_1"),
            ("team", "blue"),
            ("user", "ann"),
            ("provider", "openai"),
            ("model", "gpt-4o"),
            ("metadata.plan", "free"),
        ):
            with self.subTest(name=name):
                self.assertEqual(part(name)(full), value)
                self.assertEqual(part(name)(empty), "openai" if name == "provider" else None)

    def test_minted_tokens(self) -> None:
        """Tokens that a backend mints for its users count together with the backend's own."""
        bounds = tuple(Bound(holder, Bounds()) for holder in ("token:tok_minted", "token:tok_1", "team:local/blue"))
        minted = visit(GATEWAY, Caller("tok_minted", True, "blue", bounds=bounds))
        own = visit(GATEWAY, Caller("tok_1", True, "blue", bounds=bounds[1:]))
        self.assertEqual([part("token")(each) for each in (minted, own)], ["tok_1", "tok_1"])


class KeyTests(SynchronousTestCase):
    def test_what_no_store_takes(self) -> None:
        """Separators, line ends, half a surrogate pair and endless texts become short digests, each its own."""
        texts = ["a|b", "a\x00", "\ud800", "x" * 65, "x" * 66, "", "#", "a b", "é"]
        keys = [key_text(text) for text in texts]
        self.assertEqual(len(set(keys)), len(texts))
        for key in keys:
            self.assertRegex(key, r"\A#[0-9a-f]{32}\Z")

    @given(st.text(), st.text())
    def test_no_two_share_a_counter(self, one: str, other: str) -> None:
        """Two callers never share a counter because of what they call themselves."""
        self.assertEqual(key_text(one) == key_text(other), one == other)

    def test_texts_of_values(self) -> None:
        """Values of metadata read as in JSON."""
        self.assertEqual(
            [metadata_text(value) for value in (True, False, 3, 0.25, "x")], ["true", "false", "3", "0.25", "x"]
        )
