"""Folders that nobody else can get into, or under us."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessValue
from twisted.trial.unittest import TestCase

from aigw.errors import PostgresNotStarted
from aigw.storage.postgres_binaries import find_binaries
from aigw.storage.postgres_home import copy_binaries, lock, make_private, make_system_folder, prepare_home
from aigw.storage.postgres_user import PostgresUser

OURSELVES = PostgresUser("ourselves", os.geteuid(), os.getegid(), frozenset(), switched=False)


class HomeTests(TestCase):
    """What is made, and what is refused."""

    def setUp(self) -> None:
        """An empty folder."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def test_a_folder_of_our_own(self) -> None:
        """A private folder is made once and found again."""
        for _ in range(2):
            make_private(self.folder / "mine", OURSELVES)
        self.assertEqual((self.folder / "mine").stat().st_mode & 0o777, 0o700)

    def test_a_folder_that_others_can_open(self) -> None:
        """A folder that is open to others, or only a link, is refused: it could be swapped under us."""
        (self.folder / "open").mkdir(mode=0o755)
        (self.folder / "link").symlink_to("open")
        for name in ("open", "link"):
            self.assertRaises(PostgresNotStarted, make_private, self.folder / name, OURSELVES)

    def test_a_system_folder_that_others_can_write(self) -> None:
        """Programs that the database runs are never put where others can write."""
        (self.folder / "open").mkdir()
        (self.folder / "open").chmod(0o777)
        self.assertRaises(PostgresNotStarted, make_system_folder, self.folder / "open")

    def test_parents_are_left_alone(self) -> None:
        """Making a home changes no mode of the folders above it."""
        before = self.folder.stat().st_mode
        prepare_home(self.folder / "data", self.folder / "lib")
        self.assertEqual(self.folder.stat().st_mode, before)

    def test_one_process_at_a_time(self) -> None:
        """A home is one process's until that gives it free."""
        home = prepare_home(self.folder / "data", self.folder / "lib")
        held = lock(home)
        self.assertRaises(PostgresNotStarted, lock, home)
        os.close(held)
        os.close(lock(home))

    async def test_copied_programs_run(self) -> None:
        """Programs that were copied find their libraries and files in the copy, and are copied once."""
        if os.geteuid() != 0:
            # Only root ever copies, and only into a folder that is root's.
            self.assertRaises(PostgresNotStarted, make_system_folder, self.folder)
            return
        found = await find_binaries(reactor, None, None)
        copy = copy_binaries(found, self.folder)
        self.assertTrue(copy.bindir.is_relative_to(self.folder))
        for program in ("postgres", "initdb"):
            arguments = ["--version"]
            self.assertEqual(await getProcessValue(str(copy.bindir / program), arguments, env={}, reactor=reactor), 0)
        before = os.stat(copy.bindir).st_ino
        self.assertEqual(copy_binaries(found, self.folder), copy)
        self.assertEqual(os.stat(copy.bindir).st_ino, before)
