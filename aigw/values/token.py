"""A token of this server: who may call, for what, until when. Never the secret itself."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from aigw.values.limits import Bounds

Scope = Literal["run", "read", "edit"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Token(msgspec.Struct, frozen=True):
    """
    What is known of a token once it has been shown to its owner.

    Attributes:
        id: Public name, safe in logs; `tok_` and sixteen hex digits. That of a minted token is its parent's, a dot, and
            sixteen more.
        name: What the owner calls it.
        scopes: `run` makes inference requests, `read` reads settings and logs, `edit` changes them; none
            implies another.
        account: The account it may act for.
        gateway: The only gateway it may act for; None for all gateways of the account.
        created_ms: UTC, milliseconds since the epoch, as are the next two.
        expires_ms: It is refused from then on; None for never.
        revoked_ms: It is refused from then on; None while it is in force.
        team: The team that it belongs to; empty for none.
        user: The person who holds it; empty for none in particular.
        bounds: What its holder is held to, beside the team's bounds.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    account: str
    gateway: str | None
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    team: str = ""
    user: str = ""
    bounds: Bounds = Bounds()

    def in_force(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return (self.revoked_ms is None or now_ms < self.revoked_ms) and (
            self.expires_ms is None or now_ms < self.expires_ms
        )

    def allows(self, account: str, gateway: str, scope: Scope, now_ms: int) -> bool:
        """Whether the holder may do what `scope` names, on this gateway of this account, now."""
        return (
            self.account == account
            and (self.gateway is None or self.gateway == gateway)
            and scope in self.scopes
            and self.in_force(now_ms)
        )

    def ended_ms(self) -> int | None:
        """The first moment at which it is refused for good; None when there is none yet."""
        return min((end for end in (self.expires_ms, self.revoked_ms) if end is not None), default=None)
