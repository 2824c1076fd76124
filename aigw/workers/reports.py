"""What a worker tells of itself, and the sum over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client.metrics_core import Metric

_Sample = tuple[str, tuple[tuple[str, str], ...]]

# What says yes or no, or names the greatest: of such numbers a sum means nothing.
_NOT_SUMS: dict[str, Callable[[float, float], float]] = {
    "aigw_ready": max,
    "aigw_info": max,
    "aigw_database_available": min,
    "aigw_state_available": min,
    "process_max_fds": min,
    "process_start_time_seconds": min,
}


class Family(msgspec.Struct, frozen=True, array_like=True):
    """
    One metric of one process.

    Attributes:
        name, text, kind: As Prometheus has them.
        samples: Name, labels and value of each.
    """

    name: str
    text: str
    kind: str
    samples: tuple[tuple[str, dict[str, str], float], ...]


class Report(msgspec.Struct, frozen=True, tag=True):
    """
    How one process is doing.

    Attributes:
        round: Whose question this answers; 0: nobody asked.
        reasons: Why it takes no requests; none when it does.
        degraded: What does not work all the same.
        accepting: Whether its spool takes records.
        backlog_bytes: What its spool holds that the database does not have.
        log_stats: The numbers of its `LogStats`.
        families: Its metrics.
    """

    round: int
    reasons: tuple[str, ...]
    degraded: tuple[str, ...]
    accepting: bool
    backlog_bytes: int
    log_stats: dict[str, int]
    families: tuple[Family, ...]


def families_of(metrics: Iterable[Metric]) -> tuple[Family, ...]:
    """The metrics of a process, as they travel."""
    return tuple(
        Family(
            *(metric.name, metric.documentation, metric.type),
            tuple((sample.name, dict(sample.labels), float(sample.value)) for sample in metric.samples),
        )
        for metric in metrics
    )


def only_grown(families: Iterable[Family]) -> tuple[Family, ...]:
    """What only ever grows, and stays when its process is gone: a counter that fell would look like a restart."""
    return tuple(family for family in families if family.kind in ("counter", "histogram"))


def summed(processes: Iterable[Iterable[Family]]) -> list[Metric]:
    """One page's worth of metrics out of those of several processes."""
    texts: dict[str, Family] = {}
    sums: dict[str, dict[_Sample, float]] = {}
    for families in processes:
        for family in families:
            texts.setdefault(family.name, family)
            _add(sums.setdefault(family.name, {}), family)
    return [_metric(texts[name], samples) for name, samples in sums.items()]


def _add(sums: dict[_Sample, float], family: Family) -> None:
    for name, labels, value in family.samples:
        key = (name, tuple(labels.items()))
        before = sums.get(key)
        sums[key] = value if before is None else _NOT_SUMS.get(name, _plus)(before, value)


def _plus(one: float, other: float) -> float:
    return one + other


def _metric(family: Family, samples: dict[_Sample, float]) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for (name, labels), value in samples.items():
        metric.add_sample(name, dict(labels), value)
    return metric


class Summed:
    """
    For a registry of metrics.

    Args:
        metrics: Gives those of this moment.
    """

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Part of prometheus_client's interface."""
        yield from self._metrics()
