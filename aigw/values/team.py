"""A team: people and tokens that are held to the same bounds together."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from aigw.values.gateway import GatewayName
from aigw.values.limits import Bounds

# `\Z`, because `$` would let a line end through.
TeamName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
# A user id or an e-mail address, as an identity provider or an owner spells it.
UserName = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+\Z")]


class Team(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        name: As tokens and identity providers name it.
        account: The account that it belongs to.
        members: User ids and e-mail addresses; case does not matter. A person in two teams belongs to the one whose
            name comes first.
        bounds: What all its tokens and members are held to together.
    """

    name: TeamName
    account: GatewayName = "local"
    members: Annotated[tuple[UserName, ...], Meta(max_length=10_000)] = ()
    bounds: Bounds = Bounds()
