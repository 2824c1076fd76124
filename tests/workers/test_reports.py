from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from aigw.workers.reports import families_of, only_grown, summed


def process(exchanges: int, sockets: int, ready: bool, database: bool) -> list[Metric]:
    """The metrics of one process."""
    counted = CounterMetricFamily("aigw_exchanges", "Exchanges", labels=("provider",))
    counted.add_metric(("openai",), exchanges)
    duration = HistogramMetricFamily("aigw_duration", "Durations")
    duration.add_metric((), [("0.1", exchanges), ("+Inf", exchanges)], exchanges * 0.05)
    return [
        InfoMetricFamily("aigw", "The program", {"version": "1"}),
        counted,
        duration,
        GaugeMetricFamily("aigw_sockets", "Sockets", sockets),
        GaugeMetricFamily("aigw_ready", "Ready", ready),
        GaugeMetricFamily("aigw_database_available", "Database", database),
    ]


class SumTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.first = families_of(process(3, 10, True, True))
        self.second = families_of(process(4, 1, False, False))

    def values(self, *processes: tuple) -> dict[str, float]:  # type: ignore[type-arg]  # of families
        """Values by name and labels."""
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for metric in summed(processes)
            for sample in metric.samples
        }

    def test_sums(self) -> None:
        """Counters, buckets and levels add up; ready is who has one that is; the database is away if one misses it."""
        values = self.values(self.first, self.second)
        self.assertEqual(values["aigw_exchanges_total[('provider', 'openai')]"], 7)
        self.assertEqual(values["aigw_duration_bucket[('le', '0.1')]"], 7)
        self.assertEqual(values["aigw_sockets[]"], 11)
        self.assertEqual(values["aigw_ready[]"], 1)
        self.assertEqual(values["aigw_database_available[]"], 0)
        self.assertEqual(values["aigw_info[('version', '1')]"], 1)

    def test_the_dead(self) -> None:
        """Of a process that is gone, what it counted stays, and what it held does not."""
        values = self.values(only_grown(self.first), self.second)
        self.assertEqual(values["aigw_exchanges_total[('provider', 'openai')]"], 7)
        self.assertEqual(values["aigw_sockets[]"], 1)
        self.assertEqual(values["aigw_ready[]"], 0)
