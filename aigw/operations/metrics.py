"""What is counted, in Prometheus' words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aigw.logs.stats import LogStats
from aigw.operations.control_metrics import ControlMetrics
from aigw.operations.meter import BOUNDS_MS, Histogram, Meter, ProviderCounts
from aigw.values.usage import NANOUSD_PER_USD

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATUS = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

# Every number of `LogStats`, in the words of its own docstring. What stands at a level is a gauge.
_LOG_COUNTERS = {
    "begun": "Exchanges whose beginning was written to the spool",
    "ended": "Exchanges whose end was written to the spool",
    "refused": "Requests refused because their log had no room",
    "bodies_dropped": "Logs kept without their bodies for want of room",
    "ends_lost": "Logs that found no room at all",
    "writes": "Writes to the spool",
    "write_failures": "Writes, allocations and syncs that the disk refused",
    "interrupted": "Exchanges of dead processes that were closed on their behalf",
    "torn_bytes": "Bytes of half-written records at the end of a dead process's spool",
    "corrupt_bytes": "Bytes in the middle of a spool that were no record",
    "shipped": "Logs that the database has committed",
    "quarantined": "Logs that the database refused and that were put aside",
    "released": "Logs that left quarantine for the database",
    "ship_failures": "Transactions that failed for want of a database",
}
_LOG_GAUGES = {
    "quarantine_records": "Logs in quarantine",
    "spool_bytes": "Bytes that spool and quarantine occupy on the disk",
}


@attrs.frozen
class Levels:
    """
    What is asked for at the moment of a scrape.

    Attributes:
        sockets: Open WebSockets.
        connections: Open TCP connections of the data port.
        database_available: Whether the database's last word was an answer.
        ready: Whether new requests are taken.
        backlog_bytes: What the spool holds that the database does not have.
    """

    sockets: Callable[[], int]
    connections: Callable[[], int]
    database_available: Callable[[], bool]
    ready: Callable[[], bool]
    backlog_bytes: Callable[[], int]


class Metrics(Collector):
    """
    Everything that `/metrics` shows. Labels hold providers, classes of status, and codes: no token, user or model.

    Args:
        meter: Exchanges.
        logs: Spool and shipper.
        levels: See there.
        version: Of the program.
        controls: None where there are none.
    """

    def __init__(
        self, meter: Meter, logs: LogStats, levels: Levels, version: str, controls: ControlMetrics | None = None
    ) -> None:
        self._meter = meter
        self._logs = logs
        self._levels = levels
        self._version = version
        self._controls = controls
        # A registry of our own: the library's global one would be shared by two gateways in one process, as in tests.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def families(self) -> Iterable[Metric]:
        """All that the page shows, for a page of several processes."""
        return self._registry.collect()

    def render(self) -> bytes:
        """The page, in Prometheus' text format; a few milliseconds of work, whatever the traffic was."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment; part of prometheus_client's interface."""
        yield InfoMetricFamily("aigw", "The program", {"version": self._version})
        yield from self._exchanges()
        yield from self._sums()
        yield _by_code("aigw_errors", "Exchanges that ended with an error of the gateway's own", self._meter.errors)
        yield _by_code("aigw_refusals", "Connections and requests refused before any log", self._meter.refusals)
        yield from self._gauges()
        if self._controls is not None:
            yield from self._controls.collect()
        for name, text in _LOG_COUNTERS.items():
            yield CounterMetricFamily(f"aigw_log_{name}", text, getattr(self._logs, name))
        for name, text in _LOG_GAUGES.items():
            yield GaugeMetricFamily(f"aigw_log_{name}", text, getattr(self._logs, name))

    def _exchanges(self) -> Iterator[Metric]:
        exchanges = CounterMetricFamily(
            "aigw_exchanges",
            "Exchanges that are over, by the status the client was told",
            labels=("provider", "status"),
        )
        attempts = CounterMetricFamily("aigw_attempts", "Calls to providers", labels=("provider", "status"))
        duration = HistogramMetricFamily("aigw_exchange_duration_seconds", "Whole exchanges", labels=("provider",))
        first_byte = HistogramMetricFamily(
            "aigw_first_byte_seconds", "From the request to the answer's first byte", labels=("provider",)
        )
        for slug, counts in self._seen():
            for family, numbers in ((exchanges, counts.exchanges), (attempts, counts.attempts)):
                for status, number in zip(_STATUS, numbers, strict=True):
                    if number:
                        family.add_metric((slug, status), number)
            _add_histogram(duration, slug, counts.duration)
            _add_histogram(first_byte, slug, counts.first_byte)
        yield from (exchanges, attempts, duration, first_byte)

    def _sums(self) -> Iterator[Metric]:
        read: tuple[tuple[str, str, Callable[[ProviderCounts], float]], ...] = (
            ("aigw_request_bytes", "Bytes of request bodies", lambda counts: counts.request_bytes),
            ("aigw_response_bytes", "Bytes of answers' bodies", lambda counts: counts.response_bytes),
            ("aigw_tokens_in", "Input tokens, told or estimated", lambda counts: counts.tokens_in),
            ("aigw_tokens_out", "Output tokens, told or estimated", lambda counts: counts.tokens_out),
            ("aigw_cost_usd", "Cost, where the price is known", lambda counts: counts.cost_nanousd / NANOUSD_PER_USD),
            ("aigw_unpriced", "Exchanges with usage but without a known price", lambda counts: counts.unpriced),
            ("aigw_truncated", "Answers that broke off before their end", lambda counts: counts.truncated),
        )
        for name, text, of in read:
            family = CounterMetricFamily(name, text, labels=("provider",))
            for slug, counts in self._seen():
                family.add_metric((slug,), of(counts))
            yield family

    def _gauges(self) -> Iterator[Metric]:
        levels = self._levels
        yield GaugeMetricFamily("aigw_in_flight", "Exchanges that are not over", self._meter.in_flight)
        yield GaugeMetricFamily("aigw_sockets", "Open WebSockets", levels.sockets())
        yield GaugeMetricFamily("aigw_connections", "Open TCP connections of the data port", levels.connections())
        yield GaugeMetricFamily("aigw_database_available", "1 while the database answers", levels.database_available())
        yield GaugeMetricFamily("aigw_ready", "1 while new requests are taken", levels.ready())
        yield GaugeMetricFamily(
            "aigw_log_backlog_bytes", "Bytes in the spool that the database does not have yet", levels.backlog_bytes()
        )

    def _seen(self) -> Iterable[tuple[str, ProviderCounts]]:
        """The providers that were asked for at all: zeros for the rest of the table would be most of the page."""
        return [
            (slug, counts) for slug, counts in self._meter.providers.items() if any(counts.exchanges + counts.attempts)
        ]


def _add_histogram(family: HistogramMetricFamily, slug: str, histogram: Histogram) -> None:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, number in zip((*BOUNDS_MS, None), histogram.buckets, strict=True):
        total += number
        buckets.append(("+Inf" if bound is None else str(bound / 1000), total))
    family.add_metric((slug,), buckets, histogram.sum_ms / 1000)


def _by_code(name: str, text: str, numbers: dict[int, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=("code",))
    for code, number in sorted(numbers.items()):
        family.add_metric((str(code),), number)
    return family
