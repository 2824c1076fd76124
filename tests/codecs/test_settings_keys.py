"""What can be set, as the settings reference shows it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.settings_keys import describe


class Pond(msgspec.Struct, frozen=True):
    """
    Water.

    Attributes:
        depth_m: How deep it is,
            at its deepest.
        fish, frogs: Who lives there.
    """

    depth_m: Annotated[float, Meta(gt=0)] = 1.5
    fish: int = 0
    frogs: int = 0


class Garden(msgspec.Struct, frozen=True):
    """Keys of every kind."""

    owner: Annotated[str, Meta(description="Who waters it.")]
    fence: Annotated[Literal["wood", "stone"] | None, Meta(description="Around it.")] = None
    paths: Annotated[tuple[str, ...], Meta(description="Through it.")] = ("straight",)
    pond: Pond = Pond()
    ponds: dict[str, Pond] = {}
    beds: list[Pond] = []


class DescribeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.keys = {key.path: key for key in describe(Garden)}

    def test_every_key_is_there(self) -> None:
        """The reference lists each key once, with its place in the file."""
        parts = ("depth_m", "fish", "frogs")
        tables = [f"{table}.{part}" for table in ("pond", "ponds.<slug>", "beds[]") for part in parts]
        self.assertEqual(list(self.keys), ["owner", "fence", "paths", *tables])

    def test_texts(self) -> None:
        """A key's text is the one that stands beside its field, in either of the two places."""
        self.assertEqual(self.keys["owner"].text, "Who waters it.")
        self.assertEqual(self.keys["fence"].text, "Around it.")
        self.assertEqual(self.keys["pond.depth_m"].text, "How deep it is, at its deepest.")
        self.assertEqual(self.keys["pond.frogs"].text, "Who lives there.")

    def test_expectations_and_defaults(self) -> None:
        """A reader sees what may be written and what holds otherwise."""
        self.assertEqual(self.keys["fence"].expects, "one of `stone`, `wood`")
        self.assertEqual(self.keys["paths"].expects, "a list, each item text")
        self.assertEqual(self.keys["paths"].default, ("straight",))
        self.assertEqual(self.keys["pond.depth_m"].expects, "a number of more than 0")
        self.assertTrue(self.keys["owner"].required)
        self.assertFalse(self.keys["fence"].required)

    def test_variables(self) -> None:
        """A variable exists for each key with one place; repeated tables have none."""
        self.assertEqual(self.keys["pond.depth_m"].environment, "AIGW_POND_DEPTH_M")
        self.assertEqual(self.keys["ponds.<slug>.fish"].environment, "")
        self.assertEqual(self.keys["beds[].fish"].environment, "")
