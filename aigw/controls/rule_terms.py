"""The terms of a rule: its window, its height, the name of its counter, and the words of its refusal."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

import msgspec

from aigw.controls.limit import Overrun
from aigw.controls.partition import key_text
from aigw.controls.visit import Visit
from aigw.controls.windows import Window, fixed, sliding
from aigw.errors import GatewayError, SpendLimitExceeded
from aigw.values.limits import Technique
from aigw.values.usage import NANOUSD_PER_USD

# A counter is a signed 64-bit integer in every store.
MOST_NANOUSD = 2**62


def make_window(window_s: int, technique: Technique | None) -> Window:
    """The window of a rule."""
    return sliding(window_s) if technique == "sliding" else fixed(window_s)


def nanousd(usd: float) -> int:
    """Dollars as nano-dollars, 1 at least."""
    return min(max(1, round(usd * NANOUSD_PER_USD)), MOST_NANOUSD)


def plain(number: float) -> str:
    """A number without exponent and without needless zeros."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def rule_key(owner: str, rule_id: str, window_s: int, technique: str, content: Collection[object]) -> str:
    """
    A counter's key without its partitions.

    What was counted stays when the owner saves the settings again, puts rules into another order or changes a limit's
    height; another window counts anew, since its slots are others.

    Args:
        owner: Whose counters they are, such as `gateway:local/default`.
        rule_id: The rule's own name; empty: the counter is found by what the rule is for.
        window_s, technique: Of the rule.
        content: What the rule is for: whatever msgspec can write.
    """
    name = key_text(rule_id) if rule_id else "#" + sha256(msgspec.json.encode(content)).hexdigest()[:32]
    return f"{owner}:{name}:{window_s}{'s' if technique == 'sliding' else 'f'}"


def spend_refusal(
    name: str, limit_usd: str, window_s: int, technique: str, overrun: Overrun, visit: Visit
) -> GatewayError:
    """A budget's refusal, in the words that are known from Cloudflare."""
    return SpendLimitExceeded(
        f"rule '{name}' (cost limit {limit_usd} per {window_s}s, {technique}) "
        f"for {visit.target.provider} {visit.target.model}"
    )
