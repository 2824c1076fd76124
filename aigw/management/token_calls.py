"""Tokens over the internal API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aigw.controls.tokens import Tokens, TooManyTokens
from aigw.management.call import Call, Refused
from aigw.values.gateway import GatewayName
from aigw.values.moment import utc_text
from aigw.values.token import Scope, Token


class TokenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What a new token shall be.

    Attributes:
        name: What its owner calls it; printable.
        scopes: At least one.
        account, gateway: What it may address; no gateway means all of the account.
        expires_in_s: Seconds until it ends; none means never.
    """

    name: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] = ("run",)
    account: GatewayName = "local"
    gateway: GatewayName | None = None
    expires_in_s: Annotated[int, Meta(ge=1, le=100 * 366 * 86_400)] | None = None


class TokenCalls:
    """
    Makes, lists and revokes tokens.

    Args:
        tokens: Of this server.
        utc_ms: Wall clock.
    """

    def __init__(self, tokens: Tokens, utc_ms: Callable[[], int]) -> None:
        self._tokens = tokens
        self._utc_ms = utc_ms

    async def create(self, call: Call) -> object:
        """The new token; its text is in this answer and nowhere else."""
        form = call.read(TokenForm)
        expires_ms = None if form.expires_in_s is None else self._utc_ms() + form.expires_in_s * 1000
        try:
            made = await self._tokens.create(form.name, form.scopes, form.account, form.gateway, expires_ms)
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
            "state": state,
            "created_at": utc_text(token.created_ms),
            "expires_at": None if token.expires_ms is None else utc_text(token.expires_ms),
            "revoked_at": None if token.revoked_ms is None else utc_text(token.revoked_ms),
        }
