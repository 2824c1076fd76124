"""How owners word limits: on gateways, tokens and teams."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Unit = Literal["requests", "tokens", "usd"]
Technique = Literal["fixed", "sliding"]

LONGEST_WINDOW_S = 31_622_400
RuleId = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]

# `cf.user.id`, `metadata.<key>` and the fixed names below; see `LimitRule.per`.
PARTITION = r"^(token|team|user|provider|model|metadata\.[^\s]{1,64})\Z"


class LimitRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    So much in so long, for all or for each of a kind.

    Attributes:
        limit: The most in a window: requests, tokens (in and out together) or US dollars.
        window: Seconds.
        id: Names the rule in errors and metrics; its counters are kept under it. Empty: made from the rest.
        unit: What is counted.
        technique: `fixed` windows are aligned to the clock (UTC); a `sliding` one ends now, whenever that is.
        per: A counter for each value of these: `token`, `team`, `user`, `provider`, `model`, `metadata.<key>`. Empty:
            one counter for all. A request without the value is not counted.
        models, providers: Only requests to these; names may hold `*`, which does not cross a `/`. Empty: all.
        metadata: Only requests whose metadata has one of the values for each key.
    """

    limit: Annotated[float, Meta(gt=0, le=1e15)]
    window: Annotated[int, Meta(ge=1, le=LONGEST_WINDOW_S)]
    id: RuleId = ""
    unit: Unit = "requests"
    technique: Technique = "fixed"
    per: tuple[Annotated[str, Meta(pattern=PARTITION)], ...] = ()
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    metadata: dict[str, tuple[str, ...]] = {}


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    What the holder of a token, or a member of a team, is held to.

    Attributes:
        models, providers: Only these; names may hold `*`, which does not cross a `/`. Empty: all.
        origins: Web pages that may use it, such as `https://app.example`; empty: all that the server allows.
        limits: Counted for the token or the team as a whole, unless a rule says `per`.
        locked: Names of `cf-aig-*` headers that are ignored; `*` stands for all that change a setting.
    """

    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    locked: tuple[str, ...] = ()
