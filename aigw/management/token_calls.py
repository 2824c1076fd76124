"""Tokens over the internal API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aigw.controls.bounds import bounds_problems
from aigw.controls.teams import Teams
from aigw.controls.tokens import Tokens, TooManyTokens
from aigw.management.call import Call, Refused
from aigw.values.gateway import GatewayName
from aigw.values.limits import Bounds
from aigw.values.moment import utc_text
from aigw.values.team import TeamName, UserName
from aigw.values.token import Scope, Token


class TokenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What a new token shall be.

    Attributes:
        name: What its owner calls it; printable.
        scopes: At least one.
        account, gateway: What it may address; no gateway means all of the account.
        expires_in_s: Seconds until it ends; none means never.
        team: The team that it belongs to; it must exist.
        user: The person who holds it.
        bounds: What its holder is held to, beside the team's bounds.
    """

    name: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] = ("run",)
    account: GatewayName = "local"
    gateway: GatewayName | None = None
    expires_in_s: Annotated[int, Meta(ge=1, le=100 * 366 * 86_400)] | None = None
    team: TeamName | None = None
    user: UserName | None = None
    bounds: Bounds = Bounds()


class TokenCalls:
    """
    Makes, lists and revokes tokens.

    Args:
        tokens: Of this server.
        teams: Of this server.
        utc_ms: Wall clock.
        also_check: What else there is against a token's bounds; one sentence a problem.
    """

    def __init__(
        self,
        tokens: Tokens,
        teams: Teams,
        utc_ms: Callable[[], int],
        also_check: Callable[[Bounds], Sequence[str]] = lambda _: (),
    ) -> None:
        self._tokens = tokens
        self._teams = teams
        self._utc_ms = utc_ms
        self._also_check = also_check

    async def create(self, call: Call) -> object:
        """The new token; its text is in this answer and nowhere else."""
        form = call.read(TokenForm)
        problems = [*bounds_problems(form.bounds), *self._also_check(form.bounds)]
        if form.team and self._teams.find(form.account, form.team) is None:
            problems.append(
                f"team: there is no team `{form.team}` in the account `{form.account}`; see `aigw team list`"
            )
        if problems:
            raise Refused(400, "malformed", "; ".join(problems))
        expires_ms = None if form.expires_in_s is None else self._utc_ms() + form.expires_in_s * 1000
        terms = (form.name, form.scopes, form.account, form.gateway, expires_ms)
        try:
            made = await self._tokens.create(*terms, form.team or "", form.user or "", form.bounds)
        except TooManyTokens as error:
            raise Refused(409, "too-many-tokens", str(error)) from error
        except OSError as error:
            raise Refused(507, "disk", f"The token could not be kept: {error.strerror}") from error
        return {"token": made.text, **self._view(made.token)}

    async def list(self, call: Call) -> object:
        """All tokens, oldest first, without their texts."""
        return {"tokens": [self._view(token) for token in self._tokens.all()]}

    async def revoke(self, call: Call) -> object:
        """The token as it ended."""
        try:
            token = await self._tokens.revoke(call.name)
        except TooManyTokens as error:
            message = f"{error}; to end the minted token now, revoke the one that minted it"
            raise Refused(409, "too-many-tokens", message) from error
        except OSError as error:
            message = f"The token is refused now, but would be taken again after a restart: {error.strerror}"
            raise Refused(507, "disk", message) from error
        if token is None:
            raise Refused(404, "no-such-token", f"There is no token `{call.name}`; see `aigw token list`")
        return self._view(token)

    def _view(self, token: Token) -> dict[str, Any]:
        now_ms = self._utc_ms()
        state = "in force"
        if not token.in_force(now_ms):
            state = "revoked" if token.revoked_ms is not None else "expired"
        return {
            "id": token.id,
            "name": token.name,
            "scopes": sorted(token.scopes),
            "account": token.account,
            "gateway": token.gateway,
            "team": token.team,
            "user": token.user,
            "bounds": msgspec.to_builtins(token.bounds),
            "state": state,
            "created_at": utc_text(token.created_ms),
            "expires_at": None if token.expires_ms is None else utc_text(token.expires_ms),
            "revoked_at": None if token.revoked_ms is None else utc_text(token.revoked_ms),
        }
