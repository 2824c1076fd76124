"""Headers that an owner has locked: they are ignored, and the answer says so."""

from __future__ import annotations

from functools import lru_cache

import attrs

from aigw.controls.authentication import Caller
from aigw.values.gateway import Gateway
from aigw.values.setting_headers import DEPRECATED, EVERY, LEFT_BY_EVERY, NEVER_LOCKED, header_name
from aigw.values.step import Headers

Locks = frozenset[bytes]

# Forms of a step's headers that one connection's settings remember, and how long each may be.
STEPS_KEPT = 32
STEP_BYTES = 4_096

NO_LOCKS: Locks = frozenset()
_EVERY = EVERY.encode()


def locks_of(gateway: Gateway, caller: Caller) -> Locks:
    """
    What holds for a caller: the gateway's locks, those of the token, and those of the team.

    Args:
        gateway: The owner's settings.
        caller: See there.
    Returns:
        Names of headers in lower case, and `*` when all that change a setting are locked.
    """
    if not gateway.locked and not caller.bounds:
        return NO_LOCKS
    return _compiled((*gateway.locked, *(name for bound in caller.bounds for name in bound.bounds.locked)))


@lru_cache(maxsize=4096)
def _compiled(names: tuple[str, ...]) -> Locks:
    return frozenset(_EVERY if name == EVERY else header_name(name) for name in names)


def apply_locks(settings: dict[bytes, bytes], locks: Locks) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    """
    Take the locked headers out of a request, or out of one of its steps.

    Args:
        settings: The caller's headers; names in lower case and in today's spelling.
        locks: From `locks_of`.
    Returns:
        The headers that hold, and the sorted names of those that do not.
    """
    ignored = [name for name in settings if _is_locked(name, locks)] if locks else ()
    if not ignored:
        return settings, ()
    allowed = {name: value for name, value in settings.items() if name not in ignored}
    return allowed, tuple(sorted(name.decode("utf-8", "replace") for name in ignored))


def _is_locked(name: bytes, locks: Locks) -> bool:
    if name in locks:
        return name not in NEVER_LOCKED
    return _EVERY in locks and name not in LEFT_BY_EVERY


@attrs.frozen
class HeldSettings:
    """
    What the caller's own headers come to.

    Attributes:
        headers: Those that hold; names in lower case.
        locks: Which ones the owner has locked.
        locked: Names of those that were ignored for it, sorted.
        steps: What headers of steps came to, by their JSON: those for the provider, and these with the step's own over
            them.
    """

    headers: dict[bytes, bytes] = attrs.field(factory=dict)
    locks: Locks = NO_LOCKS
    locked: tuple[str, ...] = ()
    steps: dict[bytes, tuple[Headers, HeldSettings]] = attrs.field(factory=dict, repr=False, eq=False)

    @classmethod
    def of(cls, sent: dict[bytes, bytes], locks: Locks) -> HeldSettings:
        """Those of a connection or a request, in today's spelling."""
        headers, ignored = apply_locks(sent, locks)
        return cls(headers, locks, ignored)

    def remember(self, written: bytes, headers: Headers, own: dict[bytes, bytes]) -> tuple[Headers, HeldSettings]:
        """
        Keep what a step's headers came to, as long as there is room.

        Args:
            written: The headers as JSON.
            headers: Those for the provider.
            own: The step's own settings.
        """
        known = (headers, self.under(own) if own else self)
        if len(self.steps) < STEPS_KEPT and len(written) <= STEP_BYTES:
            self.steps[written] = known
        return known

    def under(self, own: dict[bytes, bytes]) -> HeldSettings:
        """The same with a step's own headers over them."""
        allowed, ignored = apply_locks(in_todays_spelling(own), self.locks)
        locked = tuple(sorted({*self.locked, *ignored})) if ignored else self.locked
        return HeldSettings({**self.headers, **allowed}, self.locks, locked)


def is_setting(name: bytes) -> bool:
    """Whether a header, by its name in lower case, is the gateway's own and no provider's business."""
    return name.startswith(b"cf-aig-") or name in DEPRECATED


def in_todays_spelling(settings: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers with those of the oldest pages under their names of today, which go before them."""
    if DEPRECATED.keys().isdisjoint(settings):
        return settings
    renamed = {DEPRECATED[name]: value for name, value in settings.items() if name in DEPRECATED}
    return {**renamed, **{name: value for name, value in settings.items() if name not in DEPRECATED}}
