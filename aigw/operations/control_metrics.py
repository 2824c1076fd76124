"""What the controls have done, in Prometheus' words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from aigw.controls.alerts import Alerts
from aigw.dispatch.admission import Controls
from aigw.interfaces import ICacheStore, ICounters

_SOUGHT = ("hits", "misses", "unasked", "late", "failed", "unprepared", "stored", "unstored")
_LOOK_UPS = ("hits", "stale", "misses", "unavailable")


@attrs.frozen
class ControlMetrics:
    """
    Attributes:
        controls: Every step passes them.
        counters, store: What they stand on.
        alerts: Tells of budgets.
        crowded: Why the counters take no new ones, if so.
    """

    controls: Controls
    counters: ICounters
    store: ICacheStore
    alerts: Alerts
    crowded: Callable[[], list[str]] = list

    def unavailable(self) -> list[str]:
        """The stores that do not answer now."""
        stores = (("counters", self.counters), ("cache", self.store))
        return [name for name, store in stores if not store.available]

    def degraded(self) -> list[str]:
        """What does not work as its owner set it, for `/ready`."""
        semantic = self.controls.semantic
        problems = semantic.problems if semantic is not None else {}
        told = [*self.unavailable(), *self.crowded()]
        return [*told, *(f"semantic cache of {name}: {text}" for name, text in problems.items())]

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        controls = self.controls
        stages = CounterMetricFamily("aigw_stage", "Work done by each control", labels=("stage",))
        for stage, number in controls.counts.items():
            stages.add_metric((stage,), number)
        look_ups = CounterMetricFamily("aigw_cache_lookups", "Looks into the cache", labels=("result",))
        for result in _LOOK_UPS:
            look_ups.add_metric((result,), getattr(controls.cache.counts, result))
        alerts = CounterMetricFamily("aigw_spend_alerts", "Calls of webhooks about budgets", labels=("outcome",))
        for outcome in ("sent", "failed", "dropped"):
            alerts.add_metric((outcome,), getattr(self.alerts, outcome))
        away = self.unavailable()
        available = GaugeMetricFamily("aigw_state_available", "1 while the store answers", labels=("store",))
        for name in ("counters", "cache"):
            available.add_metric((name,), name not in away)
        yield from (stages, look_ups, alerts, available)
        yield CounterMetricFamily("aigw_cache_stored", "Answers given to the cache", controls.cache.counts.stored)
        yield CounterMetricFamily(
            "aigw_cache_unfit", "Whole answers that were not of a kind to be cached", controls.cache.counts.unfit
        )
        yield CounterMetricFamily(
            "aigw_single_flight_joined", "Requests that shared another one's call", controls.flights.joined
        )
        yield GaugeMetricFamily(
            "aigw_shared_bytes", "Bytes of answers on their way to several", controls.flights.memory.held_bytes
        )
        if controls.semantic is not None:
            sought = CounterMetricFamily(
                "aigw_semantic_cache", "What came of looking for questions that mean the same", labels=("result",)
            )
            for result in _SOUGHT:
                sought.add_metric((result,), getattr(controls.semantic.counts, result))
            yield sought
        yield CounterMetricFamily(
            "aigw_limits_uncounted", "Steps that passed limits nobody could count", controls.reserve.uncounted
        )
        yield CounterMetricFamily(
            "aigw_limits_unavailable", "Steps refused for want of their counters", controls.reserve.unavailable
        )
