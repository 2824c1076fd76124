"""One counter in memory."""

from __future__ import annotations


class Row:
    """
    The slots of a counter.

    Attributes:
        slots: What each holds.
        total: Of all slots. A sliding window mostly spans every slot there is, so that nothing has to be summed.
    """

    __slots__ = ("_newest", "_oldest", "slots", "total")

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.total = 0
        self._oldest = self._newest = 0

    def put(self, slot: int, amount: int) -> None:
        """Begin a slot."""
        if not self.slots:
            self._oldest = self._newest = slot
        elif slot < self._oldest:
            self._oldest = slot
        elif slot > self._newest:
            self._newest = slot
        self.slots[slot] = amount
        self.total += amount

    def add(self, slot: int, delta: int) -> None:
        """Correct a slot. What a restart has forgotten is not owed: no slot goes below nothing."""
        before = self.slots[slot]
        after = max(0, before + delta)
        self.slots[slot] = after
        self.total += after - before

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        self.total -= self.slots.pop(slot)
        if self.slots and slot in (self._oldest, self._newest):
            self._oldest, self._newest = min(self.slots), max(self.slots)

    def sum(self, first: int, last: int) -> int:
        """What the slots from `first` to `last` hold together."""
        if first <= self._oldest and self._newest <= last:
            return self.total
        if first == last:
            return self.slots.get(last, 0)
        return sum(used for slot, used in self.slots.items() if first <= slot <= last)

    def oldest_used(self, first: int, last: int) -> int:
        """The oldest slot of those that holds something; `last` when none does."""
        return min((slot for slot, used in self.slots.items() if used > 0 and first <= slot <= last), default=last)
