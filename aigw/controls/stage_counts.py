"""How often each control did its work: plain integers, since every request passes here."""

from __future__ import annotations

STAGES = ("authenticate", "settings", "guard", "cache", "rate_limit", "spend_limit", "policy", "metadata")


class StageCounts(dict[str, int]):
    """
    Work done, by the stage's name; every name of `STAGES` is there from the start.

    Whoever counts adds to it: `counts["guard"] += 1`.
    """

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(STAGES, 0))
