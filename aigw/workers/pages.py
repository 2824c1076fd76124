"""`/ready` and `/metrics` of the parent, which speaks for all of its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from twisted.internet.defer import CancelledError
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from aigw.logs.stats import LogStats
from aigw.operations.metrics import CONTENT_TYPE
from aigw.serving.http import answer_json
from aigw.workers.reports import Report, Summed, families_of, summed
from aigw.workers.supervisor import Supervisor


@attrs.frozen
class Together:
    """
    All processes of a gateway as one.

    Attributes:
        supervisor: Of the workers.
        own: How the parent itself is doing.
        drains: Whether the gateway is about to stop.
        unshared: What is counted by each worker for itself and should not be.
    """

    supervisor: Supervisor
    own: Callable[[], Report]
    drains: Callable[[], bool]
    unshared: Callable[[], list[str]]

    def reasons(self) -> list[str]:
        """Why no request is taken; none as long as one worker takes them."""
        if self.drains():
            return ["draining"]
        if any(process.report is None or not process.report.reasons for process in self.supervisor.serving()):
            return []
        return self.supervisor.problems() or ["no worker serves"]

    def degraded(self) -> list[str]:
        """What does not work while requests are taken all the same."""
        told = [text for report in self._reports() for text in report.degraded]
        return list(dict.fromkeys((*self.unshared(), *self.supervisor.problems(), *told)))

    @property
    def accepting(self) -> bool:
        """Whether every spool takes records."""
        return all(report.accepting for report in self._reports())

    def backlog_bytes(self) -> int:
        """What all spools hold that the database does not have."""
        return sum(report.backlog_bytes for report in self._reports())

    def log_stats(self) -> LogStats:
        """The numbers of all processes that there are."""
        total = LogStats()
        for report in self._reports():
            for name, number in report.log_stats.items():
                setattr(total, name, getattr(total, name) + number)
        return total

    def metrics(self) -> Iterable[Metric]:
        """The sum, and what only the parent knows."""
        yield from summed([self.supervisor.bygone(), *(report.families for report in self._reports())])
        yield GaugeMetricFamily("aigw_workers", "Workers that serve", len(self.supervisor.serving()))
        yield CounterMetricFamily(
            "aigw_worker_restarts", "Workers started in place of others", self.supervisor.restarts
        )

    def _reports(self) -> list[Report]:
        return [self.own(), *self.supervisor.reports()]


class _Asking(Resource):
    """
    A page for which the workers are asked first.

    Args:
        together: See there.
    """

    isLeaf = True

    def __init__(self, together: Together) -> None:
        super().__init__()
        self._together = together

    def render_GET(self, request: Request) -> int:
        """Answers within about a second, whatever the workers do."""
        asked = self._together.supervisor.ask()
        request.notifyFinish().addErrback(lambda _: asked.cancel())
        asked.addCallback(lambda _: self.answer(request))
        asked.addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    def answer(self, request: Request) -> None:
        """Write the page, out of the last reports."""
        raise NotImplementedError


class ReadyTogether(_Asking):
    """200 while at least one worker takes requests."""

    def answer(self, request: Request) -> None:
        """See `_Asking`."""
        together = self._together
        reasons = together.reasons()
        told = {"ready": not reasons, "reasons": reasons, "degraded": together.degraded()}
        answer_json(request, 503 if reasons else 200, msgspec.json.encode(told))


class MetricsTogether(_Asking):
    """The counters of all processes."""

    def __init__(self, together: Together) -> None:
        super().__init__(together)
        self._registry = CollectorRegistry()
        self._registry.register(Summed(together.metrics))

    def answer(self, request: Request) -> None:
        """See `_Asking`."""
        request.setHeader("content-type", CONTENT_TYPE)
        request.setHeader("cache-control", "no-store")
        request.write(generate_latest(self._registry))
        request.finish()


def report_of(
    asked: int,
    reasons: list[str],
    degraded: list[str],
    accepting: bool,
    backlog_bytes: int,
    stats: LogStats,
    metrics: Iterable[Metric],
) -> Report:
    """The report of a process, for `Report`'s fields."""
    return Report(
        *(asked, tuple(reasons), tuple(degraded), accepting, backlog_bytes, attrs.asdict(stats)),
        families_of(metrics),
    )
