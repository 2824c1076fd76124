"""Counters by the plainest bookkeeping, for stores to be compared with."""

from __future__ import annotations

from collections.abc import Sequence

from aigw.values.counting import Charge, Correction, Verdict


class Model:
    """Counters in the plainest form."""

    def __init__(self) -> None:
        self.slots: dict[tuple[str, int], int] = {}

    def within(self, charge: Charge) -> dict[int, int]:
        """What counts for a charge."""
        return {s: n for (key, s), n in self.slots.items() if key == charge.key and charge.first <= s <= charge.slot}

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """As `ICounters.read`."""
        return tuple(sum(self.within(each).values()) for each in charges)

    def take(self, charges: Sequence[Charge]) -> Verdict:
        """As `ICounters.take`."""
        held = self.read(charges)
        for index, each in enumerate(charges):
            if held[index] + each.need > each.limit:
                full = [slot for slot, used in self.within(each).items() if used]
                return Verdict(index, held, min(full, default=each.slot))
        for each in charges:
            self.slots[each.key, each.slot] = self.slots.get((each.key, each.slot), 0) + each.amount
        return Verdict(-1, tuple(used + each.amount for used, each in zip(held, charges, strict=True)))

    def settle(self, corrections: Sequence[Correction]) -> None:
        """As `ICounters.settle`."""
        for each in corrections:
            self.slots[each.key, each.slot] = max(0, self.slots.get((each.key, each.slot), 0) + each.delta)
