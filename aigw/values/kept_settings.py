"""Parts of a gateway's settings that are kept and checked, so that they can be set; no stage reads them yet."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Hazard = Literal["P1", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13"]
Reaction = Literal["FLAG", "BLOCK"]
Text = Annotated[str, Meta(max_length=4096)]
Url = Annotated[str, Meta(max_length=2048)]


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What is done about hazards (section 5.6 of Cloudflare's reference); one that is not named is ignored.

    Attributes:
        prompt: Kept. By hazard, in what is asked.
        response: Kept. By hazard, in what is answered.
    """

    prompt: dict[Hazard, Reaction]
    response: dict[Hazard, Reaction]


class DlpPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        id: Kept. Names the policy.
        enabled: Kept. Whether it holds.
        action: Kept. What is done about a finding.
        check: Kept. What is searched.
        profiles: Kept. What is searched for, by the profiles' ids.
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    enabled: bool
    action: Reaction
    check: tuple[Literal["REQUEST", "RESPONSE"], ...]
    profiles: Annotated[tuple[Text, ...], Meta(max_length=100)]


class Dlp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Data loss prevention (section 5.7 of Cloudflare's reference): one action for some profiles, or policies.

    Attributes:
        enabled: Kept. Whether any of it holds.
        action: Kept. What is done about a finding; not beside `policies`.
        profiles: Kept. What is searched for, by the profiles' ids; not beside `policies`.
        policies: Kept. Each with its own action and profiles.
    """

    enabled: bool
    action: Reaction | None = None
    profiles: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    policies: Annotated[tuple[DlpPolicy, ...], Meta(max_length=100)] = ()


class OtelTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Where spans are exported to.

    Attributes:
        url: Kept. Of the collector.
        headers: Kept. Sent along.
        authorization: Kept. Names a secret.
        content_type: Kept. How spans are written.
    """

    url: Url
    headers: dict[str, Text]
    authorization: Text | None = None
    content_type: Literal["json", "protobuf"] | None = None


class StripeEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        payload: Kept. Template of what is sent.
    """

    payload: Text


class Stripe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Attributes:
        authorization: Kept. Names a secret.
        usage_events: Kept. What is told of each request.
    """

    authorization: Text
    usage_events: Annotated[tuple[StripeEvent, ...], Meta(max_length=20)]
