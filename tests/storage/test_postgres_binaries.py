"""Which PostgreSQL is used."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import PostgresNotStarted
from aigw.storage.postgres_binaries import WHEEL, find_binaries


class FindTests(TestCase):
    """The search, from the owner's choice to what the system has."""

    def install(self, name: str, version: str) -> Path:
        """A folder with programs that only tell their version."""
        bindir = self.root / name / "bin"
        bindir.mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (bindir / program).write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")
            (bindir / program).chmod(0o755)
        return bindir

    def setUp(self) -> None:
        """An empty place for programs."""
        self.root = Path(self.mktemp()).resolve()
        self.root.mkdir()

    async def test_the_owners_choice(self) -> None:
        """What the owner names is used, and nothing else is searched."""
        found = await find_binaries(reactor, self.install("mine", "14.2"), None)
        self.assertEqual((found.version, found.major), ("14.2", 14))

    async def test_the_wheel_comes_first(self) -> None:
        """With the wheel there, a new database gets its newest release, and importing nothing of it."""
        found = await find_binaries(reactor, None, None, self.root)
        self.assertIn(WHEEL, found.bindir.parts)
        self.assertEqual(found.major, 18)
        self.assertNotIn(WHEEL, sys.modules)

    async def test_the_data_decide(self) -> None:
        """An existing data directory gets its own major version, wherever that is."""
        self.install("14", "14.9")
        found = await find_binaries(reactor, None, 14, self.root)
        self.assertEqual(found.version, "14.9")

    async def test_nothing_fits(self) -> None:
        """The message names what the data want and what there is."""
        mine = self.install("mine", "17.1 (Debian 17.1-1)")
        refused = await self.assertFailure(Deferred.fromCoroutine(find_binaries(reactor, mine, 16)), PostgresNotStarted)
        self.assertIn("PostgreSQL 16", str(refused))
        self.assertIn(f"17.1 in {mine}", str(refused))

    async def test_too_old(self) -> None:
        """A release that the schema cannot use is not taken for a new database."""
        old = self.install("old", "13.4")
        refused = await self.assertFailure(
            Deferred.fromCoroutine(find_binaries(reactor, old, None)), PostgresNotStarted
        )
        self.assertIn("14 to 18", str(refused))

    async def test_no_programs(self) -> None:
        """A folder without programs is named in the message."""
        refused = await self.assertFailure(
            Deferred.fromCoroutine(find_binaries(reactor, self.root, None)), PostgresNotStarted
        )
        self.assertIn(str(self.root), str(refused))
