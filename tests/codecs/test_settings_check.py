"""Mistakes of an operator, and what they are told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.settings_check import problems_of, read_text


class Pond(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    depth_m: Annotated[float, Meta(ge=0)] = 1.0


class Garden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    owner: str = ""
    fence: Literal["wood", "stone"] | None = None
    steps: Annotated[int, Meta(ge=1, le=9)] = 1
    open: bool = True
    paths: tuple[str, ...] = ()
    pond: Pond = Pond("small")
    ponds: dict[str, Pond] = {}
    beds: list[Pond] = []


@attrs.frozen
class Shed:
    """A class with validators of its own."""

    doors: int = attrs.field(default=1, validator=attrs.validators.ge(1))


class Farm(msgspec.Struct, frozen=True):
    shed: Shed = Shed()


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Garden.__struct_fields__, *Pond.__struct_fields__, "x"]), inner, max_size=4)
    ),
)


class ProblemsTests(SynchronousTestCase):
    def problems(self, **tree: Any) -> list[str]:
        return problems_of(tree, Garden)

    def test_all_at_once(self) -> None:
        """Every mistake in a file is told in one go, each with the path of its key."""
        found = self.problems(owner=1, steps=0, pond={"depth_m": -1.0, "name": "p"}, beds=[{"name": "a"}, {"name": 2}])
        self.assertEqual(
            found,
            [
                "owner: expected text, got a whole number",
                "steps: expected a whole number of at least 1 and at most 9, got `0`",
                "pond.depth_m: expected a number of at least 0, got `-1.0`",
                "beds[1].name: expected text, got a whole number",
            ],
        )

    def test_a_mistyped_key_names_its_neighbour(self) -> None:
        """A slip of the finger is answered with the key that was meant."""
        self.assertEqual(self.problems(ownr="x"), ["ownr: no such key; did you mean `owner`?"])
        self.assertEqual(self.problems(zzz="x"), ["zzz: no such key"])

    def test_a_key_in_the_wrong_table_names_the_right_one(self) -> None:
        """A key that belongs into a table, written above it, is answered with its full path."""
        self.assertEqual(self.problems(depth_m=2.0), ["depth_m: no such key; did you mean `pond.depth_m`?"])

    def test_a_mistyped_choice_names_its_neighbour(self) -> None:
        """A wrong word where only some are known is answered with all of them and the nearest."""
        (problem,) = self.problems(fence="wod")
        self.assertEqual(problem, "fence: expected one of `stone`, `wood`, got `wod`; did you mean `wood`?")

    def test_what_must_be_there(self) -> None:
        """A table without its name is told so."""
        self.assertEqual(self.problems(ponds={"big": {}}), ["ponds.big.name: missing; expected text"])

    def test_no_numbers_that_are_none(self) -> None:
        """`nan` and `inf`, which TOML allows, are no lengths of time."""
        self.assertEqual(len(self.problems(pond={"name": "p", "depth_m": float("nan")})), 1)
        self.assertEqual(len(self.problems(pond={"name": "p", "depth_m": float("inf")})), 1)

    def test_classes_with_validators(self) -> None:
        """What a room's own class says against a value is told with its table."""
        self.assertEqual(problems_of({"shed": {"doors": 2}}, Farm), [])
        self.assertEqual(problems_of({"shed": {"doors": 0}}, Farm), ["shed: 'doors' must be >= 1: 0"])
        self.assertEqual(problems_of({"shed": {"door": 1}}, Farm), ["shed.door: no such key; did you mean `doors`?"])

    def test_texts_are_not_repeated(self) -> None:
        """A password in the wrong place does not come back in the error."""
        (problem,) = self.problems(paths="postgresql://me:sesame@host/db")
        self.assertNotIn("sesame", problem)

    # The first drawing of the first run is slow on a machine that is busy.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from([*Garden.__struct_fields__, "x"]), TOML_VALUES, max_size=4))
    def test_no_problem_means_usable(self, tree: dict[str, Any]) -> None:
        """Whatever the file holds, the check finds a mistake exactly when the settings cannot be made from it."""
        try:
            msgspec.convert(tree, Garden)
            usable = True
        except msgspec.ValidationError:
            usable = False
        found = problems_of(tree, Garden)
        if not found:
            self.assertTrue(usable)
        elif usable:
            self.assertTrue(all("`nan`" in problem or "inf`" in problem for problem in found), found)


class ReadTextTests(SynchronousTestCase):
    def test_lists(self) -> None:
        """Items in a variable have a semicolon between them; commas and colons belong to the items."""
        self.assertEqual(
            read_text("tcp:1 ; ssl:2:certKey=a,b.pem;", tuple[str, ...]), ("tcp:1", "ssl:2:certKey=a,b.pem")
        )
        self.assertEqual(read_text(["tcp:1;x"], tuple[str, ...]), ("tcp:1;x",))

    def test_plain_values(self) -> None:
        """Numbers and switches are read from text, switches in every usual spelling."""
        self.assertEqual(read_text("12", Annotated[int, Meta(ge=1)]), 12)
        self.assertEqual(read_text("0.5", float), 0.5)
        for text in ("true", "1", "yes", "On", "TRUE"):
            self.assertIs(read_text(text, bool), True)
        for text in ("false", "0", "no", "Off"):
            self.assertIs(read_text(text, bool), False)

    def test_mistakes(self) -> None:
        """A text that is no such value is refused with what was expected."""
        error = self.assertRaises(ValueError, read_text, "soon", Annotated[float, Meta(ge=0)])
        self.assertEqual(str(error), "expected a number of at least 0, got `soon`")
        self.assertRaises(ValueError, read_text, "nan", float)
