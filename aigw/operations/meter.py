"""Counts exchanges, in plain integers: what every request passes must cost next to nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from aigw.errors import GatewayError
from aigw.values.record import End

# Upper bounds of the histograms' buckets; one more bucket takes what is slower.
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)

# The label of everything that is not in the table of providers: a client can write any slug, and each new value of a
# label would stay in memory for ever.
OTHER = "other"


class Histogram:
    """Milliseconds, in buckets."""

    __slots__ = ("buckets", "sum_ms")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0

    def add(self, ms: int) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS_MS, ms)] += 1
        self.sum_ms += ms


class ProviderCounts:
    """
    What is counted for one provider.

    Attributes:
        exchanges, attempts: By class of HTTP status, 2 for 2xx; 0 where there was no answer.
        request_bytes, response_bytes: Of bodies.
        tokens_in, tokens_out: As told or estimated.
        cost_nanousd: Of the exchanges whose price is known.
        unpriced: Exchanges with usage whose price is not known.
        truncated: Answers that broke off.
        duration, first_byte: Of exchanges.
    """

    __slots__ = (
        "attempts",
        "cost_nanousd",
        "duration",
        "exchanges",
        "first_byte",
        "request_bytes",
        "response_bytes",
        "tokens_in",
        "tokens_out",
        "truncated",
        "unpriced",
    )

    def __init__(self) -> None:
        self.exchanges = [0] * 6
        self.attempts = [0] * 6
        self.request_bytes = self.response_bytes = 0
        self.tokens_in = self.tokens_out = 0
        self.cost_nanousd = self.unpriced = 0
        self.truncated = 0
        self.duration = Histogram()
        self.first_byte = Histogram()


class Meter:
    """
    Counts what passes, since the start of the process.

    Args:
        providers: The slugs that get a label of their own.

    Attributes:
        in_flight: Exchanges that are not over.
        providers: Counts by slug, and `OTHER`.
        errors: Exchanges that ended with an error, by its code.
        refusals: Upgrades and requests that were refused before there was an exchange, by the error's code.
    """

    def __init__(self, providers: Iterable[str]) -> None:
        self.in_flight = 0
        self.providers = {slug: ProviderCounts() for slug in (*providers, OTHER)}
        self.errors: dict[int, int] = {}
        self.refusals: dict[int, int] = {}

    def opened(self) -> None:
        """An exchange has opened."""
        self.in_flight += 1

    def ended(self, record: End) -> None:
        """An exchange is over."""
        self.in_flight -= 1
        counts = self._of(record.target.provider)
        counts.exchanges[_status_class(record.status)] += 1
        counts.request_bytes += record.target.request_bytes
        counts.response_bytes += record.response_bytes
        counts.duration.add(record.duration_ms)
        if record.first_byte_ms >= 0:
            counts.first_byte.add(record.first_byte_ms)
        if record.response_bytes and not record.complete:
            counts.truncated += 1
        if record.error_code:
            self.errors[record.error_code] = self.errors.get(record.error_code, 0) + 1
        for attempt in record.attempts:
            self._of(attempt.provider).attempts[_status_class(attempt.status)] += 1
        if record.usage is not None:
            counts.tokens_in += record.usage.tokens_in
            counts.tokens_out += record.usage.tokens_out
            if record.cost_nanousd is None:
                counts.unpriced += 1
            else:
                counts.cost_nanousd += record.cost_nanousd

    def refused(self, error: GatewayError) -> None:
        """Something was refused before there was an exchange."""
        self.refusals[error.code] = self.refusals.get(error.code, 0) + 1

    def _of(self, slug: str) -> ProviderCounts:
        return self.providers.get(slug) or self.providers[OTHER]


def _status_class(status: int) -> int:
    return status // 100 if 100 <= status < 600 else 0
