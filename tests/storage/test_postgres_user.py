"""As whom PostgreSQL runs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import PostgresNotStarted
from aigw.storage.postgres_user import PostgresUser, choose_user

STRANGER = PostgresUser("stranger", os.geteuid() + 1, 60001, frozenset({60001}), switched=True)


class ChooseTests(SynchronousTestCase):
    """Whose the processes and files are."""

    def test_never_root(self) -> None:
        """Root hands the database to somebody else; an ordinary user keeps it."""
        user = choose_user(None)
        self.assertNotEqual(user.uid, 0)
        self.assertEqual(user.switched, os.geteuid() == 0)

    def test_existing_files_decide(self) -> None:
        """Files of another ordinary user: root runs as their owner, anybody else is told whose they are."""
        other = next(each for each in pwd.getpwall() if each.pw_uid not in (0, os.geteuid()))
        if os.geteuid() == 0:
            self.assertEqual(choose_user(other.pw_uid).uid, other.pw_uid)
        else:
            refused = self.assertRaises(PostgresNotStarted, choose_user, other.pw_uid)
            self.assertIn(other.pw_name, str(refused))

    def test_an_owner_without_a_name(self) -> None:
        """Files of a user id that the system does not know cannot be served, and the message gives the number."""
        unknown = max(each.pw_uid for each in pwd.getpwall() if each.pw_uid < 2**31) + 1
        refused = self.assertRaises(PostgresNotStarted, choose_user, unknown)
        self.assertIn(str(unknown), str(refused))


class MayEnterTests(SynchronousTestCase):
    """Whether a folder can be reached by another user."""

    def setUp(self) -> None:
        """A folder within a folder."""
        self.outer = Path(self.mktemp())
        self.inner = self.outer / "inner"
        self.inner.mkdir(parents=True)

    def entered(self, outer: int, inner: int, user: PostgresUser) -> bool:
        """Whether the inner folder can be reached at these modes."""
        self.inner.chmod(inner)
        self.outer.chmod(outer)
        # What lies above belongs to whoever runs the tests, and may itself be closed to the user.
        above = [self.outer.resolve(), self.inner.resolve()]
        return all(user._may_pass(each.stat()) for each in above)

    def test_every_part_of_the_path_counts(self) -> None:
        """A stranger passes where every folder lets all pass, and nowhere else."""
        self.assertTrue(self.entered(0o711, 0o755, STRANGER))
        self.assertFalse(self.entered(0o700, 0o755, STRANGER))
        self.assertFalse(self.entered(0o755, 0o700, STRANGER))

    def test_owner_before_group_before_others(self) -> None:
        """The first class that fits a user decides, as in the kernel."""
        status = self.outer.stat()
        owner = PostgresUser("owner", status.st_uid, 0, frozenset(), switched=False)
        member = PostgresUser("member", 65533, status.st_gid, frozenset({status.st_gid}), switched=True)
        self.assertEqual([self.entered(0o711, 0o711, each) for each in (owner, member)], [True, True])
        self.assertEqual([self.entered(0o711, 0o701, each) for each in (owner, member)], [True, False])
        self.assertEqual([self.entered(0o711, 0o611, each) for each in (owner, member)], [False, True])
        self.assertFalse(member.may_enter(self.inner) and not os.access(self.inner, os.X_OK))
