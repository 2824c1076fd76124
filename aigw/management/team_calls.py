"""Teams over the internal API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aigw.controls.bounds import bounds_problems
from aigw.controls.tokens import Tokens
from aigw.interfaces import IDocuments
from aigw.management.call import Call, Refused
from aigw.storage.document_table import DocumentRefused, TooManyDocuments, VersionConflict
from aigw.values.document import Stored
from aigw.values.gateway import GatewayName
from aigw.values.limits import Bounds
from aigw.values.moment import utc_text
from aigw.values.team import Team, TeamName, UserName

ACCOUNT = "local"
Members = Annotated[tuple[UserName, ...], Meta(max_length=10_000)]


class TeamChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What is to become of a team; what is absent stays as it is.

    Attributes:
        members: All of them, in place of those before.
        add_members, remove_members: Some of them.
        bounds: All of them, in place of those before.
        account: Of the team.
    """

    members: Members | None = None
    add_members: Members = ()
    remove_members: Members = ()
    bounds: Bounds | None = None
    account: GatewayName = ACCOUNT


class TeamForm(TeamChanges, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    A new team.

    Attributes:
        name: As tokens and identity providers name it.
        members: User ids and e-mail addresses.
        add_members, remove_members: As for changes.
        bounds: What its tokens and members are held to together.
        account: The account that it belongs to.
    """

    name: TeamName


class TeamCalls:
    """
    Makes, lists, changes and deletes teams. A change holds on every process within a second, for open sockets too.

    Args:
        documents: Where they are kept.
        tokens: Of this server: those of a team keep it from being deleted.
        utc_ms: Wall clock.
        also_check: What else there is against a team's bounds; one sentence a problem.
    """

    def __init__(
        self,
        documents: IDocuments,
        tokens: Tokens,
        utc_ms: Callable[[], int],
        also_check: Callable[[Bounds], Sequence[str]] = lambda _: (),
    ) -> None:
        self._documents = documents
        self._tokens = tokens
        self._utc_ms = utc_ms
        self._also_check = also_check

    def routes(self) -> dict[tuple[str, ...], dict[bytes, Callable[[Call], Awaitable[object]]]]:
        """As `Management.routes`."""
        return {
            ("teams",): {b"GET": self.list, b"POST": self.create},
            ("teams", "*"): {b"GET": self.show, b"PUT": self.set, b"DELETE": self.delete},
        }

    async def create(self, call: Call) -> object:
        """The new team."""
        form = call.read(TeamForm)
        if self._documents.find(form.account, form.name) is not None:
            raise Refused(409, "exists", f"There is a team `{form.name}` already; see `aigw team set`")
        return await self._put(Team(form.name, form.account), form, 0)

    async def list(self, call: Call) -> object:
        """All teams, by account and name."""
        return {"teams": [_view(stored) for stored in self._documents.all()]}

    async def show(self, call: Call) -> object:
        """One team."""
        return _view(self._find(call.query.get("account", ACCOUNT), call.name))

    async def set(self, call: Call) -> object:
        """The team as it is now."""
        form = call.read(TeamChanges)
        stored = self._find(form.account, call.name)
        return await self._put(stored.value, form, stored.version)

    async def delete(self, call: Call) -> object:
        """The team as it was. Tokens that name it are refused from now on, so there must be none in force."""
        stored = self._find(call.query.get("account", ACCOUNT), call.name)
        holders = self._holders(stored.value)
        if holders and call.query.get("force") != "true":
            named = ", ".join(holders[:5]) + (" and others" if len(holders) > 5 else "")
            message = f"Tokens of the team would be refused: {named}; revoke them, or delete with --force"
            raise Refused(409, "in-use", message)
        await self._documents.delete(stored.account, stored.name)
        return _view(stored)

    def _holders(self, team: Team) -> Sequence[str]:
        """Ids of the tokens in force that belong to a team."""
        return [
            token.id
            for token in self._tokens.all()
            if (token.account, token.team) == (team.account, team.name) and token.in_force(self._utc_ms())
        ]

    def _find(self, account: str, name: str) -> Stored[Team]:
        stored: Stored[Team] | None = self._documents.find(account, name)
        if stored is None:
            raise Refused(404, "no-such-team", f"There is no team `{name}`; see `aigw team list`")
        return stored

    async def _put(self, team: Team, form: TeamChanges, version: int) -> object:
        members = dict.fromkeys((*(team.members if form.members is None else form.members), *form.add_members))
        removed = {member.casefold() for member in form.remove_members}
        bounds = team.bounds if form.bounds is None else form.bounds
        problems = [*bounds_problems(bounds), *self._also_check(bounds)]
        if problems:
            raise Refused(400, "malformed", "; ".join(problems))
        document = {
            "members": [member for member in members if member.casefold() not in removed],
            "bounds": msgspec.to_builtins(bounds),
        }
        try:
            return _view(await self._documents.put(team.account, team.name, document, version))
        except VersionConflict as error:
            raise Refused(409, "conflict", f"Somebody else changed the team `{team.name}` just now") from error
        except (TooManyDocuments, DocumentRefused, ValueError) as error:
            raise Refused(409, "refused", str(error)) from error


def _view(stored: Stored[Team]) -> dict[str, Any]:
    team = stored.value
    return {
        "name": team.name,
        "account": team.account,
        "members": list(team.members),
        "bounds": msgspec.to_builtins(team.bounds),
        "created_at": utc_text(stored.created_ms),
        "modified_at": utc_text(stored.modified_ms),
    }
