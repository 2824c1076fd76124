"""What holds everywhere in the project, so that no review has to look for it."""

from __future__ import annotations

import ast
import configparser
import inspect
import re
import unittest
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase, TestCase

import tests

ROOT = Path(__file__).parent.parent
# Made by tools, never committed.
MADE = {"__pycache__", "node_modules", "_build", "aigw-data"}
FOLDERS = ("aigw", "twisted", "tests", "docs", "changes", "benchmarks", ".ci")

# Folders of one machine or one person; a path in the project means something on every machine.
MACHINE_PATH = re.compile(r"(?<![\w.:~$}>/-])/(?:home|root|work|Users)/\w")

BANNED = {
    "time.sleep": "time comes in as an IReactorTime, and tests step a Clock",
    "mock.patch": "what a test replaces is an argument",
    "self.patch": "what a test replaces is an argument",
    "inlineCallbacks": "write `async def` and start it with Deferred.fromCoroutine",
}


def files(*suffixes: str) -> Iterator[Path]:
    """Every file that is committed below `FOLDERS`, or at the root, with one of these suffixes."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        found += (path for path in (ROOT / folder).rglob("*") if path.is_file() and not MADE & set(path.parts))
    return (path for path in sorted(found) if path.suffix in suffixes)


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Every module in these folders: its path from the root, and its syntax tree."""
    for path in files(".py"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(folders):
            yield name, ast.parse(path.read_text(), name)


def dotted(node: ast.AST) -> str:
    """How a name or attribute is written, `a.b.c`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def spellings(node: ast.AST) -> list[str]:
    """The dotted names that a node uses or imports."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{name.name}" for name in node.names]
    return [dotted(node)] if isinstance(node, (ast.Name, ast.Attribute)) else []


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The single tests of a suite."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


class CodeTests(SynchronousTestCase):
    """Rules for every module."""

    def test_banned_names(self) -> None:
        """No module sleeps, patches, or uses generator coroutines."""
        found = [
            f"{name}:{node.lineno}: {spelling}: {reason}"
            for name, tree in modules("aigw", "tests", "twisted", "benchmarks")
            for node in ast.walk(tree)
            for spelling in spellings(node)
            for banned, reason in BANNED.items()
            if f".{spelling}".endswith(f".{banned}")
        ]
        self.assertEqual(found, [])

    def test_reactor_is_an_argument(self) -> None:
        """Importing a module never installs a reactor; only `aigw/tap.py`, which twistd loads last, may."""
        found = [
            f"{name}:{node.lineno}"
            for name, tree in modules("aigw", "twisted")
            for node in tree.body
            if name != "aigw/tap.py" and "twisted.internet.reactor" in spellings(node)
        ]
        self.assertEqual(found, [])

    def test_modules_say_what_they_are_for(self) -> None:
        """Every module that holds code opens with a docstring."""
        found = [name for name, tree in modules("aigw", "twisted") if tree.body and not ast.get_docstring(tree)]
        self.assertEqual(found, [])

    def test_plugin_is_light(self) -> None:
        """`twistd --help` for another plugin loads nothing of aigw: the plugin imports ServiceMaker alone."""
        ((_, tree),) = modules("twisted/plugins/aigateway.py")
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        self.assertEqual([s for node in imports for s in spellings(node)], ["twisted.application.service.ServiceMaker"])
        self.assertFalse((ROOT / "twisted" / "__init__.py").exists())
        self.assertFalse((ROOT / "twisted" / "plugins" / "__init__.py").exists())


class TestsTests(SynchronousTestCase):
    """Rules for every test."""

    def setUp(self) -> None:
        self.tests = list(cases(TestLoader().loadPackage(tests, recurse=True)))

    def methods(self) -> Iterator[tuple[unittest.TestCase, str, object]]:
        """Each test with its name and its method."""
        for test in self.tests:
            name = test.id().rpartition(".")[2]
            if name.startswith("test_") and hasattr(test, name):
                yield test, test.id(), getattr(test, name)

    def test_asynchronous_tests_run(self) -> None:
        """A coroutine in a SynchronousTestCase would pass without running; it stands in a TestCase instead."""
        found = {
            name
            for test, name, method in self.methods()
            if inspect.iscoroutinefunction(method) and not isinstance(test, TestCase)
        }
        self.assertEqual(found, set())

    def test_every_test_says_what_a_user_would_notice(self) -> None:
        """Every test has a docstring."""
        self.assertEqual({name for _, name, method in self.methods() if not inspect.getdoc(method)}, set())


class FileTests(SynchronousTestCase):
    """Rules for every file."""

    def test_no_path_of_one_machine(self) -> None:
        """A clone means the same on every machine."""
        texts = files(".py", ".rst", ".cfg", ".toml", ".sql", ".json", ".mjs", ".js", ".html", ".css", "")
        found = [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for path in texts
            for match in MACHINE_PATH.finditer(path.read_text(errors="replace"))
        ]
        self.assertEqual(found, [])

    def test_locked_packages_name_no_host(self) -> None:
        """`npm ci` fetches from the registry that its user has configured, not from the one where the lock was made."""
        for path in files(".json"):
            if path.name == "package-lock.json":
                self.assertNotIn('"resolved"', path.read_text(), path)

    def test_listed_packages_are_those_on_disk(self) -> None:
        """What setup.cfg installs is what there is: a new room that was not listed would be missing from the wheel."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        listed = config["options"]["packages"].split()
        on_disk = {path.parent for path in files(".py", ".sql") if path.is_relative_to(ROOT / "aigw")}
        on_disk.add(ROOT / "twisted" / "plugins")
        self.assertEqual(listed, sorted(".".join(folder.relative_to(ROOT).parts) for folder in on_disk))
