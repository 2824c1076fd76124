"""The teams of this server, looked up by name and by member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aigw.controls.bounds import bounds_problems
from aigw.interfaces import IDocuments
from aigw.values.team import Team

KIND = "team"


def read_team(account: str, name: str, document: Mapping[str, Any]) -> Team:
    """
    The team that a stored document declares.

    Raises:
        ValueError: It declares none that this release understands.
    """
    try:
        team = msgspec.convert({**document, "account": account, "name": name}, Team)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    problems = bounds_problems(team.bounds)
    if problems:
        raise ValueError("; ".join(problems))
    return team


class Teams:
    """
    A snapshot of all teams.

    Args:
        documents: Where they are kept, of the kind `team`, made with `read_team`.

    Attributes:
        version: Grows with every change of any team, so that what was made of teams can be kept until then.
    """

    def __init__(self, documents: IDocuments) -> None:
        self._documents = documents
        self._by_member: dict[tuple[str, str], Team] | None = None
        self.version = 0
        documents.on_changed(self._changed)

    def find(self, account: str, name: str) -> Team | None:
        """The team of these names, or None."""
        stored = self._documents.find(account, name)
        return None if stored is None else stored.value

    def of_member(self, account: str, *names: str) -> Team | None:
        """
        The team that a person belongs to.

        Args:
            account: Of the gateway that is addressed.
            names: The person's id and e-mail address; an empty one is nobody's.
        Returns:
            None for somebody who is in no team.
        """
        if self._by_member is None:
            self._by_member = self._members()
        found = (self._by_member.get((account, name.casefold())) for name in names if name)
        return next(filter(None, found), None)

    def all(self) -> list[Team]:
        """Every team, by account and name."""
        return [stored.value for stored in self._documents.all()]

    def _members(self) -> dict[tuple[str, str], Team]:
        members: dict[tuple[str, str], Team] = {}
        for team in self.all():
            for member in team.members:
                members.setdefault((team.account, member.casefold()), team)
        return members

    def _changed(self, account: str, name: str) -> None:
        self._by_member = None
        self.version += 1
