"""Who may ask for what, and for how much money: an owner's policies (section 5.13 of Cloudflare's reference)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aigw.values.gateway import GatewayName

Period = Literal["hourly", "daily", "weekly", "monthly"]

# What CEL cannot hold a request up with: see `aigw.controls.policy_condition`.
CONDITION_CHARS = 2_000

Label = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
ActorText = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
ConditionText = Annotated[str, Meta(min_length=1, max_length=CONDITION_CHARS)]
Model = Annotated[str, Meta(min_length=1, max_length=256)]
# A star stands for nothing in the name of a provider.
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
Models = Annotated[tuple[Model, ...], Meta(min_length=1, max_length=100)]
Slugs = Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=100)]


class Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    What a policy is about: both, where both are named.

    Attributes:
        model: As the provider names it; `*` stands for anything but a `/`.
        provider: Slug.
    """

    model: Model | Models | None = None
    provider: Slug | Slugs | None = None

    def __post_init__(self) -> None:
        if self.model is None and self.provider is None:
            raise ValueError('resource: name a model, a provider or both; "*" stands for everything')


class NoLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="no-limit"):
    """Lets requests pass, and switches the limits of the same bucket off."""


class Block(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    tag="block",
    rename={"otherwise": "except"},
):
    """
    Refuses requests.

    Attributes:
        otherwise: On the wire `except`. Refuses what does *not* match the resource, and says nothing about what does.
    """

    otherwise: bool = False


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="limit"):
    """
    Lets requests pass for so much money in each interval of the calendar.

    Attributes:
        amount: US dollars.
        period: By UTC; weeks begin on Monday.
        technique: The only one there is.
    """

    amount: Annotated[float, Meta(ge=1e-9, le=1e9)]
    period: Period
    technique: Literal["named-interval"] = "named-interval"


class PolicyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    What an owner says of a policy.

    Attributes:
        name: What its owner calls it.
        actor: Names the bucket that is charged; `{cf.user.id}` and the like make one bucket for each value.
        resource: See there.
        condition: CEL that gives true or false, `true` for always.
        action: See there.
    """

    name: Label
    actor: ActorText
    resource: Literal["*"] | Resource
    condition: ConditionText
    action: NoLimit | Block | Cap


class Policy(PolicyForm, frozen=True, kw_only=True):
    """
    A policy as it is kept.

    Attributes:
        id: UUID.
        created_at, updated_at: Unix seconds.
    """

    id: str
    created_at: int
    updated_at: int


class PolicyChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What becomes different about a policy; see `PolicyForm`."""

    name: Label | UnsetType = UNSET
    actor: ActorText | UnsetType = UNSET
    resource: Literal["*"] | Resource | UnsetType = UNSET
    condition: ConditionText | UnsetType = UNSET
    action: NoLimit | Block | Cap | UnsetType = UNSET


class PolicyPlace(msgspec.Struct, frozen=True):
    """
    The gateway whose policies are meant.

    Attributes:
        account, gateway: As in its address.
    """

    account: GatewayName
    gateway: GatewayName
