"""What a shared counter is asked, and what it answers. Amounts are whole: requests, tokens, or nano-dollars."""

from __future__ import annotations

import msgspec


class Charge(msgspec.Struct, frozen=True, gc=False):
    """
    An amount that is to fit into one counter.

    A counter is a row of slots, each a stretch of time. What counts is the sum over the slots from `first` to `slot`:
    one slot for a fixed window, many for a sliding one.

    Attributes:
        key: Names the counter: whose it is, and what it counts.
        slot: Where the amount is added.
        first: The oldest slot that still counts.
        amount: What is added when every charge fits; an estimate where the real amount is known later only.
        need: What must fit beside what is there already; at most `amount`, and 1 at least.
        limit: The most that the slots may hold together.
        expires_ms: From then on (UTC, milliseconds) the slot is never asked for again.
    """

    key: str
    slot: int
    first: int
    amount: int
    need: int
    limit: int
    expires_ms: int


class Correction(msgspec.Struct, frozen=True, gc=False):
    """
    What becomes of an amount that was taken: the difference to the real one.

    Attributes:
        key, slot, expires_ms: As in the `Charge`.
        delta: May be negative.
    """

    key: str
    slot: int
    delta: int
    expires_ms: int


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """
    What became of some charges: all were taken, or none.

    Attributes:
        refused: Index of the first charge that did not fit; -1 when all were taken.
        used: The sum of each charge's slots, in their order; with the amounts when they were taken.
        oldest: Of the refusing charge: the oldest slot that holds something, where room will come first.
    """

    refused: int
    used: tuple[int, ...]
    oldest: int = 0


class Charged(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    What an exchange finally cost one spend counter; part of its log record, so that counters can be built anew.

    Attributes:
        key, slot, expires_ms: As in the `Charge`.
        amount: Nano-dollars.
    """

    key: str
    slot: int
    expires_ms: int
    amount: int
