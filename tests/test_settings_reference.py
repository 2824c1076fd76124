from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.settings_check import problems_of
from aigw.settings import Settings, keys

DOCS = Path(__file__).parent.parent / "docs"


class SettingsReferenceTests(SynchronousTestCase):
    """The page `docs/settings.rst`."""

    def setUp(self) -> None:
        self.written = (DOCS / "settings.rst").read_text()

    def test_page_is_up_to_date(self) -> None:
        """Whoever adds or changes a key finds it on the page: `python docs/settings_keys.py` writes it there."""
        self.assertEqual(self.written, runpy.run_path(str(DOCS / "settings_keys.py"))["page"]())

    def test_every_key_is_explained(self) -> None:
        """No key is there in name only."""
        self.assertEqual([key.path for key in keys() if not key.text.strip()], [])

    def test_examples_are_accepted(self) -> None:
        """The tables of the page, put into one file, are a valid file in which every key is set."""
        blocks = re.findall(r"\.\. code-block:: toml\n\n((?:    .*\n)+)", self.written)
        tree = tomllib.loads("\n".join(re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks))
        self.assertEqual(problems_of(tree, Settings), [])
        self.assertEqual(self.paths(tree), sorted(key.path for key in keys()))

    def paths(self, tree: dict[str, object], prefix: str = "") -> list[str]:
        """The keys that a tree sets, spelt as in the reference."""
        known = {key.path for key in keys()}
        found: list[str] = []
        for name, value in tree.items():
            path = prefix + name
            if path in known:
                found.append(path)
            elif isinstance(value, list):
                found += self.paths(value[0], f"{path}[].")
            elif isinstance(value, dict) and any(key.startswith(f"{path}.<slug>") for key in known):
                found += self.paths(next(iter(value.values())), f"{path}.<slug>.")
            elif isinstance(value, dict):
                found += self.paths(value, f"{path}.")
            else:
                self.fail(f"`{path}` is no key")
        return sorted(found)
