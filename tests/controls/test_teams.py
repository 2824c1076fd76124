"""Who belongs to which team."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.teams import Teams, read_team
from aigw.testing.documents import MemoryDocuments
from aigw.values.team import Team


class TeamsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.documents = MemoryDocuments(read_team)
        self.teams = Teams(self.documents)

    def put(self, name: str, account: str = "local", **fields: Any) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.documents.put(account, name, fields)))

    def test_by_member(self) -> None:
        """A person is found by id or by e-mail address, however it is capitalised, in the account that is asked."""
        self.put("red", members=["Ada@example.com", "u2"])
        for names in (("ada@EXAMPLE.com",), ("nobody", "u2"), ("", "U2")):
            team = self.teams.of_member("local", *names)
            assert team is not None
            self.assertEqual(team.name, "red")
        for account, names in (("other", ("u2",)), ("local", ("",)), ("local", ("u3",))):
            self.assertIsNone(self.teams.of_member(account, *names))

    def test_two_teams(self) -> None:
        """Who is listed in two teams belongs to the first by name."""
        self.put("red", members=["ada"])
        self.put("blue", members=["ada"])
        self.assertEqual(self.teams.of_member("local", "ada"), Team("blue", members=("ada",)))

    def test_changes(self) -> None:
        """Who joins or leaves a team is of it, or is not, at once; the version tells that something has changed."""
        self.put("red", members=["ada"])
        self.teams.of_member("local", "ada")
        version = self.teams.version
        self.put("red", members=["bob"])
        self.assertIsNone(self.teams.of_member("local", "ada"))
        self.assertIsNotNone(self.teams.of_member("local", "bob"))
        self.assertGreater(self.teams.version, version)

    def test_what_is_no_team(self) -> None:
        """A document that this release does not understand is no team: better none than one with half its bounds."""
        for fields in ({"bounds": {"colour": "red"}}, {"members": "ada"}, {"bounds": {"origins": ["x"]}}, {"more": 1}):
            self.assertRaises(ValueError, read_team, "local", "red", fields)
        self.assertRaises(ValueError, read_team, "local", "r/d", {})
