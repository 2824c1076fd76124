"""What one exchange has taken from its limits, until it is known what it really used."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from aigw.controls.entry import Entry, Till, Watch
from aigw.controls.refusals import rate_headers
from aigw.controls.turns import charge_turn, judge
from aigw.controls.visit import Visit
from aigw.errors import GatewayError, UnpricedModel
from aigw.values.counting import Charged, Correction
from aigw.values.gateway import Gateway
from aigw.values.step import Headers
from aigw.values.usage import Usage

__all__ = ["NOTHING_HELD", "Entry", "Hold", "Till", "Watch"]


class Hold:
    """
    What one exchange has taken. It is settled or released exactly once; what comes after that does nothing.

    Args:
        till: See there.
        visit: The step that the exchange is at.
        entries: One for each limit.
    """

    __slots__ = ("_added_nanousd", "_added_tokens", "_final", "_till", "_visit", "entries")

    def __init__(self, till: Till | None, visit: Visit | None, entries: Sequence[Entry] = ()) -> None:
        self._till = till
        self._visit = visit
        self.entries = entries
        # What a session's turns have used so far.
        self._added_tokens = self._added_nanousd = 0
        self._final: tuple[Charged, ...] | None = None

    @property
    def charged(self) -> tuple[Charged, ...]:
        """What budgets hold of the exchange now, an estimate; for its `Begin`."""
        return tuple(entry.charged(entry.amount) for entry in self.entries if entry.limit.unit == "usd")

    @property
    def headers(self) -> Headers:
        """`RateLimit-*` of the rate limit that has the least room left; empty where none holds."""
        tightest, least = None, 1.0
        for entry in self.entries:
            limit = entry.limit
            # Its share in use, so that limits of different heights compare.
            if limit.unit != "usd" and (tightest is None or 1 - entry.used / limit.limit < least):
                tightest, least = entry, 1 - entry.used / limit.limit
        if tightest is None or self._till is None:
            return ()
        limit = tightest.limit
        return rate_headers(limit, limit.limit - tightest.used, limit.window.reset_s(self._till.utc_ms()))

    def move_on(self, visit: Visit, current: Sequence[Entry]) -> None:
        """
        The exchange has come to another step.

        Args:
            visit: That step.
            current: The limits that hold for it. What others took for earlier steps is kept until the end.
        """
        self._visit = visit
        former = [entry for entry in self.entries if entry not in current]
        for entry in former:
            entry.current = False
        for entry in current:
            entry.current = True
        self.entries = (*former, *current)

    # How it ends ----------------------------------------------------------------------------------------------------

    def settle(self, usage: Usage | None, cost_nanousd: int | None, failed: bool = False) -> tuple[Charged, ...]:
        """
        Bring what was taken to what was used.

        Args:
            usage: Of the answer, or of the whole session; None when neither told nor guessed.
            cost_nanousd: Of the same; None when not known.
            failed: The provider gave no answer, or an error: what is not known is then nothing. Otherwise the estimate
                stays, since the provider may have worked for a client that left.
        Returns:
            What it cost each budget, for its `End`; the same again for every further call.
        """
        if not self.entries:
            return ()
        if self._final is None:
            assert self._till is not None and self._visit is not None  # noqa: S101  # only a hold of nothing lacks them
            if usage is not None:
                self._till.estimates.learn(self._visit, usage)
            tokens = None if usage is None else usage.tokens_in + usage.tokens_out - self._added_tokens
            nanousd = self._nanousd(usage, cost_nanousd)
            nanousd = None if nanousd is None else nanousd - self._added_nanousd
            for entry in self.entries:
                unit = entry.limit.unit
                if unit == "requests":
                    entry.real = entry.amount
                else:
                    entry.real = _final_amount(entry, nanousd if unit == "usd" else tokens, failed)
            self._close(self._till, self._visit.gateway)
        return self._final or ()

    def release(self) -> None:
        """No provider was asked: give everything back."""
        if self.entries and self._final is None:
            assert self._till is not None and self._visit is not None  # noqa: S101  # as above
            for entry in self.entries:
                entry.real = 0
            self._close(self._till, self._visit.gateway)

    def _close(self, till: Till, gateway: Gateway) -> None:
        corrections = []
        final: list[Charged] = []
        for entry in self.entries:
            if entry.real != entry.amount:
                corrections.append(entry.correction(entry.real))
                entry.used += entry.real - entry.amount
                entry.amount = entry.real
            final += entry.past
            if entry.real and entry.limit.unit == "usd":
                final.append(entry.charged(entry.real))
        self._final = tuple(final)
        if corrections:
            till.counters.settle(corrections)
        if till.watch is not None:
            till.watch.changed(gateway, self.entries)

    def _nanousd(self, usage: Usage | None, cost_nanousd: int | None) -> int | None:
        """What counts as the cost of a usage; None when nobody knows."""
        if cost_nanousd is not None or usage is None:
            return cost_nanousd
        assert self._till is not None and self._visit is not None  # noqa: S101  # as above
        cost = self._visit.price(usage)
        try:
            return self._till.estimates.unpriced(self._visit, usage) if cost is None else cost
        except UnpricedModel:
            # It had a price when it was let through.
            return None

    # Sessions -------------------------------------------------------------------------------------------------------

    def add(self, usage: Usage, cost_nanousd: int | None) -> GatewayError | Deferred[GatewayError | None] | None:
        """
        A turn of a session is over: charge it, beyond what is held for the session.

        Args:
            usage: Of this turn alone.
            cost_nanousd: Of the same; None when not known.
        Returns:
            Why the session must end, when a limit has no room left; a Deferred of it when the counters are elsewhere.
        """
        entries = [entry for entry in self.entries if entry.current and entry.limit.unit != "requests"]
        till, visit = self._till, self._visit
        if not entries or till is None or visit is None or self._final is not None:
            return None
        tokens = usage.tokens_in + usage.tokens_out
        nanousd = self._nanousd(usage, cost_nanousd) or 0
        self._added_tokens += tokens
        self._added_nanousd += nanousd
        now_ms = till.utc_ms()
        corrections: list[Correction] = []
        for entry in entries:
            corrections += charge_turn(entry, nanousd if entry.limit.unit == "usd" else tokens, now_ms)
        if corrections:
            till.counters.settle(corrections)
        if till.watch is not None:
            till.watch.changed(visit.gateway, entries)
        return judge(till.counters, visit, entries, now_ms)


# What an exchange holds that no limit is set for.
NOTHING_HELD = Hold(None, None)


def _final_amount(entry: Entry, rest: int | None, failed: bool) -> int:
    """What the present slot of a limit in tokens or dollars comes to, where `rest` is what is not yet in `real`."""
    if not entry.current:
        # The step that took it has failed, or there would be no other.
        return entry.real
    if rest is not None:
        return entry.real + max(0, rest)
    return entry.real if failed or entry.real or entry.past else entry.amount
