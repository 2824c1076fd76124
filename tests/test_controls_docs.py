from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.cli.arguments import build_parser
from aigw.codecs.gateway_check import contradictions, limit_rule_problems, lock_problems
from aigw.codecs.settings_check import problems_of, read_text
from aigw.controls.policy_condition import compile_condition
from aigw.dispatch.settings import check_settings
from aigw.errors import InvalidField
from aigw.settings import Settings
from aigw.values.gateway import Gateway
from aigw.values.limits import LimitRule
from aigw.values.policy import PolicyForm
from aigw.values.setting_headers import LOCKABLE, NEVER_LOCKED
from tests.test_papers import failures

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("operations", "quickstart", "callers", *(page.stem for page in sorted(DOCS.glob("controls*.rst"))))


def blocks(language: str) -> Iterator[str]:
    """Every block of a language."""
    for page in PAGES:
        text = (DOCS / f"{page}.rst").read_text()
        for block in re.findall(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", text):
            yield re.sub("^    ", "", block, flags=re.MULTILINE)


def commands(program: str) -> Iterator[tuple[list[str], str]]:
    """The arguments of everything that is typed to call a program, and the first line of the answer that is shown."""
    for page in PAGES:
        lines = iter((DOCS / f"{page}.rst").read_text().splitlines())
        for line in lines:
            typed = line.removeprefix("    ").removeprefix("$ ")
            if not re.match(rf"    (\$ ([A-Z]+=(\S+|\".*?\") )*)?{program} ", line):
                continue
            while (words := split(typed)) is None:
                typed = f"{typed.removesuffix(chr(92))}\n{next(lines)}"
            yield words[words.index(program) + 1 :], next(lines, "").strip()


def split(typed: str) -> list[str] | None:
    """A command as a shell splits it, up to what it is piped to; None when it goes on in the next line."""
    if typed.endswith("\\"):
        return None
    try:
        words = shlex.split(typed, comments=True)
    except ValueError:
        return None
    ends = [index for index, word in enumerate(words) if word in ("|", ">")]
    return words[: ends[0]] if ends else words


def fields(pairs: list[str]) -> dict[str, Any]:
    """Fields of a gateway as they are typed."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(Gateway)}
    typed = (pair.partition("=") for pair in pairs)
    return {
        name: None if text == "null" else json.loads(text) if text[0] in "[{" else read_text(text, kinds[name], ",")
        for name, _, text in typed
    }


class ControlsPagesTests(SynchronousTestCase):
    """What the pages about controls show can be pasted."""

    def test_every_header_is_told_of(self) -> None:
        """Whoever looks for a header by which something is set finds it in the table."""
        table = (DOCS / "controls.rst").read_text().partition(".. _headers:")[2].partition("``cf-cache-ttl``")[0]
        named = {name.encode() for name in re.findall(r"``(cf-aig-[a-z-]+)``", table)}
        self.assertEqual(named, LOCKABLE | NEVER_LOCKED)

    def test_settings_are_accepted(self) -> None:
        """Every piece of a settings file is one that the gateway takes."""
        pieces = [tomllib.loads(block) for block in blocks("toml")]
        self.assertGreater(len(pieces), 8)
        for piece in pieces:
            self.assertEqual(problems_of(piece, Settings), [], piece)
            for gateway in msgspec.convert(piece, Settings).gateway:
                self.assertEqual(list(contradictions(gateway)), [], piece)

    def test_commands_are_accepted(self) -> None:
        """Every command is one that `aigw` takes, with fields, limits, locks and conditions that the gateway takes."""
        typed = [build_parser().parse_args(words) for words, _ in commands("aigw")]
        self.assertGreater(len(typed), 30)
        for options in typed:
            told = vars(options)
            gateway = {"id": "typed", **fields(told.get("fields", []))}
            self.assertEqual(problems_of(gateway, Gateway), [])
            self.assertEqual(list(contradictions(msgspec.convert(gateway, Gateway))), [])
            # In other verbs, `limits` and the like are something else, or are not there.
            if told["verb"].__module__ in ("aigw.cli.tokens", "aigw.cli.teams"):
                limits = msgspec.convert(told.get("limits") or [], list[LimitRule])
                locked = told.get("locked") or []
                self.assertEqual([*limit_rule_problems(limits, "limits"), *lock_problems(locked, "locked")], [])
            compile_condition(told.get("condition") or "true")

    def test_requests_are_answered_as_shown(self) -> None:
        """A header that an example sends is taken, unless the answer below it is a 400."""
        asked = list(commands("ask"))
        self.assertGreater(len(asked), 20)
        for words, answer in asked:
            sent = [word.partition(": ") for word in words if word.startswith("cf-aig-")]
            settings = {name.encode(): value.encode() for name, _, value in sent}
            if answer.startswith("HTTP/1.1 400"):
                self.assertRaises(InvalidField, check_settings, settings)
            else:
                check_settings(settings)

    def test_errors_are_worded_as_shown(self) -> None:
        """Each error has the code, the status and the description of its kind."""
        kinds = {kind.code: kind for kind in failures() if kind.code != 2005}
        shown = [error for block in blocks("json") if "internalCode" in (error := json.loads(block))]
        self.assertGreater(len(shown), 10)
        for error in shown:
            kind = kinds[error["internalCode"]]
            text = error["message"].partition(": ")[0]
            self.assertEqual((error["httpCode"], error["retryable"], text), (kind.status, kind.retryable, kind.text))
            self.assertEqual(error["error"], [{"code": kind.code, "message": error["message"]}])
            self.assertEqual(error["description"], (kind.__doc__ or "").strip())

    def test_policy_is_accepted(self) -> None:
        """The example of a policy is one that can be written."""
        policies = [policy for block in blocks("json") if "actor" in (policy := json.loads(block))]
        self.assertEqual(len(policies), 1)
        compile_condition(msgspec.convert(policies[0], PolicyForm).condition)
