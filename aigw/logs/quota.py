"""How much room the spool may take, over all of its files."""

from __future__ import annotations

from collections.abc import Callable

from aigw.logs.stats import LogStats


class Quota:
    """
    Counts the bytes of all files that one process answers for: its own spool, adopted ones, and the quarantine.

    Args:
        limit_bytes: What they may take together.
        stats: Shown there, too.

    Attributes:
        used_bytes: What they take now.
    """

    def __init__(self, limit_bytes: int, stats: LogStats) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._stats = stats
        self._waiting: list[Callable[[], None]] = []

    def allows(self, size_bytes: int) -> bool:
        """Whether so much more may be taken."""
        return self.used_bytes + size_bytes <= self.limit_bytes

    def take(self, size_bytes: int) -> None:
        """Count a file that has been made or found."""
        self.used_bytes += size_bytes
        self._stats.spool_bytes = self.used_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count a file that was deleted or cut, and tell those who wait for room."""
        self.take(-size_bytes)
        for call in self._waiting:
            call()

    def when_freed(self, call: Callable[[], None]) -> None:
        """Call back each time room was given back."""
        self._waiting.append(call)
